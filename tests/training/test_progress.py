from dataclasses import dataclass

import pytest

from stream_prune.sparsity.cost import Cost
from stream_prune.training.progress import Progress


@dataclass
class Table:
    name: str
    capacity: int
    rows_used: int


def test_mean_macs_weigh_by_examples_and_leave_out_the_warm_up():
    progress = Progress(warmup_rows=100)
    progress.learned(100, 0, Cost(1000, 3000, 1))
    progress.learned(30, 5, Cost(400, 1200, 1))
    progress.learned(0, 7, Cost(400, 1200, 1))
    progress.learned(10, 0, Cost(200, 600, 1))
    figures = progress.figures()
    assert figures["mean_macs_inference_after_warmup"] == (30 * 400 + 10 * 200) / 40
    assert figures["mean_macs_training_after_warmup"] == (30 * 1200 + 10 * 600) / 40
    assert figures["mean_macs_inference"] == (100 * 1000 + 30 * 400 + 10 * 200) / 140
    assert (figures["rows_learned"], figures["rows_unlabelled"]) == (140, 12)
    assert figures["batches_learned"] == 3


def test_the_greatest_share_of_rows_is_kept_and_small_tables_do_not_count():
    progress = Progress(full_rows={"user": 1000, "item": 3000, "day": 7})
    day = Table("day", 7, 7)
    for capacity, used in ((400, 100), (100, 100), (200, 200)):
        progress.observe_rows([Table("user", capacity, used), Table("item", capacity, used), day])
    figures = progress.figures()
    assert figures["max_rows_capacity_share"] == pytest.approx(800 / 4000)
    assert figures["max_rows_used_share"] == pytest.approx(400 / 4000)


def test_a_restored_progress_goes_on_from_its_counts():
    progress = Progress(warmup_rows=5)
    progress.learned(10, 1, Cost(7, 21, 1))
    progress.happened("drift")
    again = Progress(warmup_rows=5)
    again.load_state_dict(progress.state_dict())
    assert again == progress
