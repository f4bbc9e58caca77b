"""How long an artifact takes for one event."""

from __future__ import annotations

import statistics
import time

from stream_prune.artifact.scorer import Scorer

WARM_UP_CALLS, TIMED_CALLS = 100, 1_000


def single_event_ms(scorer: Scorer) -> float:
    """Median milliseconds to score one event given as plain values, on one thread."""
    rows = scorer.example()[0].to_pylist()
    requests = [{key: [value] for key, value in row.items()} for row in rows]
    seconds = []
    for call in range(WARM_UP_CALLS + TIMED_CALLS):
        request = requests[call % len(requests)]
        before = time.perf_counter()
        scorer.score(request)
        seconds.append(time.perf_counter() - before)
    return 1000 * statistics.median(seconds[WARM_UP_CALLS:])
