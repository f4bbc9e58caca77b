"""Many runs, some at once, each in a process with one thread; what is finished is not repeated."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from types import TracebackType

from compare_policies.runs import Outcome, Run, execute, finished
from stream_prune.comparison.processes import end_with_parent


class Schedule:
    """A pool of processes that make runs; use it as a context.

    Args:
        jobs: runs at once.
    """

    def __init__(self, jobs: int) -> None:
        # Before torch is imported there: each process is to keep to its own core.
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        # Forking a process that holds torch's and Arrow's threads can hang.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent)

    def __enter__(self) -> Schedule:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def outcomes(self, name: str, runs: Sequence[Run]) -> list[Outcome]:
        """The runs' outcomes; what is not finished is made, and a line printed for each.

        Raises:
            RunError, ConfigError: a run failed. What was finished stays so.
        """
        known = {place: outcome for place, run in enumerate(runs) if (outcome := finished(run))}
        if known:
            print(f"{name}: {len(known)} of {len(runs)} runs were there", flush=True)
        missing = [place for place in range(len(runs)) if place not in known]
        started = time.monotonic()
        waiting = {self._pool.submit(execute, runs[place]): place for place in missing}
        for done, future in enumerate(as_completed(waiting), 1):
            place, outcome = waiting[future], future.result()
            known[place] = outcome
            passed = f"{done}/{len(missing)}, {time.monotonic() - started:.0f} s"
            print(f"{name} [{passed}] {_line(runs[place], outcome)}", flush=True)
        return [known[place] for place in range(len(runs))]


def _line(run: Run, outcome: Outcome) -> str:
    name = "/".join(run.folder.parts[-2:])
    if outcome.diverged:
        return f"{name}: {outcome.diverged}"
    summary = outcome.summary
    ne, seconds = summary["ne_after_warmup"], summary["clock"]["seconds"]
    return f"{name}: NE {ne:.4f}, {seconds:.0f} s"
