"""Runs that are finished are kept in a folder, and not made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from compare_rankings.contenders import Variant
from compare_rankings.cost import Products
from compare_rankings.outcome import Outcome
from stream_prune.evaluation.ranking import Ranking


def kept(file: Path | None, make: Callable[[], Outcome]) -> Outcome:
    """What lies in ``file``, or else what ``make`` gives, which is put there.

    Args:
        file: names all that decides the run; None: nothing is kept. Code that has changed is not
            noticed: give it another folder.
        make: makes the run.
    """
    if file is None:
        return make()
    if not file.exists():
        _write(file, make())
    with np.load(file) as found:
        told = json.loads(str(found["told"]))
        test = Ranking(found["users"], found["recalls"], found["ndcgs"])
    variant, run, left = Variant(**told["variant"]), told["run"], told["left"]
    read = {"variant": variant, "run": Products(**run), "left": Products(**left), "test": test}
    return Outcome(**told | read)


def _write(file: Path, outcome: Outcome) -> None:
    told = {key: value for key, value in vars(outcome).items() if key != "test"}
    told |= {name: asdict(told[name]) for name in ("variant", "run", "left")}
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_name(f"{file.stem}.part.npz")
    np.savez(whole, told=json.dumps(told), **vars(outcome.test))
    whole.replace(file)
