"""A worse, bigger or slower model is registered, and does not become champion."""

from dataclasses import replace

import pytest
from registered import HOUR, click_log, recent, renamed
from small_model import trained

from stream_prune.artifact import Scorer
from stream_prune.artifact.recent import from_metrics, ne_of, recent_windows, to_metrics
from stream_prune.errors import ConfigError, RunError
from stream_prune.registry.client import connect
from stream_prune.registry.gates import Gates, Refused, check_quality
from stream_prune.registry.history import versions
from stream_prune.registry.publish import publish
from stream_prune.registry.pull import resolve

ENDS = [HOUR * hour for hour in range(1, 11)]
LIMIT = Gates(ne_tolerance=0.01)


@pytest.fixture(scope="module")
def known(written, tmp_path_factory):
    """The champion: hours 1 to 10 at a logloss of .5, all of them learned."""
    folder = tmp_path_factory.mktemp("champion") / "m"
    return renamed(written, folder, metrics=recent(ENDS, 0.5), step=1, window_end=ENDS[-1])


def rival(written, folder, logloss, ends=tuple(ENDS), **more):
    step = {"step": 2, "window_end": ends[-1], **more}
    return renamed(written, folder, metrics=recent(ends, logloss), **step)


def test_the_first_model_has_no_champion_to_beat(written, registry_config, tmp_path):
    assert publish(rival(written, tmp_path / "m", 9.0), registry_config, LIMIT) == "1"
    assert resolve(registry_config) == "1"


def test_a_worse_model_stays_registered_with_the_reason_and_the_champion_stays(
    written, known, registry_config, tmp_path
):
    publish(known, registry_config, LIMIT)
    worse = rival(written, tmp_path / "worse", 0.51)
    message = r"version 2 .* worse by 2\.00%, publish\.gates\.ne_tolerance allows 1\.00%.*version 1"
    with pytest.raises(Refused, match=message):
        publish(worse, registry_config, LIMIT)
    assert resolve(registry_config) == resolve(registry_config, "candidate") == "1"
    first, second = versions(registry_config)
    assert "worse by 2.00%" in second.refused
    assert (first.refused, first.aliases, second.aliases) == ("", ("candidate", "champion"), ())
    with pytest.raises(Refused):  # and again: nothing is registered twice
        publish(worse, registry_config, LIMIT)
    assert len(versions(registry_config)) == 2
    assert publish(worse, registry_config, Gates(ne_tolerance=0.05)) == resolve(registry_config)
    assert versions(registry_config)[1].refused == ""


def test_a_model_within_the_tolerance_becomes_champion(written, known, registry_config, tmp_path):
    publish(known, registry_config, LIMIT)
    assert publish(rival(written, tmp_path / "m", 0.504), registry_config, LIMIT) == "2"
    assert resolve(registry_config) == "2"


def test_windows_after_the_champions_last_are_scored_with_it_now(model, written, tmp_path):
    """Labels come from the model itself: what it scores is as good as can be.

    They are known a day later, so a model that has learned hours 1 to 3 exists from hour 27 on.
    """
    log = click_log(tmp_path / "log", model, windows=30)
    ends = [HOUR * hour for hour in range(1, 31)]
    old = Scorer.load(renamed(written, tmp_path / "old", metrics={}, step=1, window_end=ends[2]))
    rivals = {
        logloss: Scorer.load(rival(written, tmp_path / f"{logloss}", logloss, ends))
        for logloss in (0.2, 0.9)
    }
    check_quality(LIMIT, rivals[0.2], old, log)
    with pytest.raises(Refused, match=r"on the same 3 windows \(300 labelled rows\)"):
        check_quality(LIMIT, rivals[0.9], old, log)
    other = Scorer.load(trained(seed=9, steps=1).write(tmp_path / "other", step=1))
    other = replace_lineage(other, window_end=ends[2])
    with pytest.raises(Refused, match="on the same 3 windows"):
        check_quality(LIMIT, rivals[0.9], other, log)


def replace_lineage(scorer, **lineage):
    scorer.card = replace(scorer.card, lineage=replace(scorer.card.lineage, **lineage))
    return scorer


def test_a_champion_of_another_log_cannot_be_compared(written, known, tmp_path):
    far = rival(written, tmp_path / "m", 0.4, [1, 2, 3], run="other")
    with pytest.raises(Refused, match=r"no window that both .* from run 'run', step 1.* by hand"):
        check_quality(LIMIT, Scorer.load(far), Scorer.load(known), None)


def test_windows_of_other_rows_are_not_compared(written, known, tmp_path):
    other = renamed(written, tmp_path / "m", metrics=recent(ENDS, 0.4, labelled=90), step=2)
    with pytest.raises(Refused, match="no window"):
        check_quality(LIMIT, Scorer.load(other), Scorer.load(known), None)


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (Gates(max_bytes=1000), r"has [\d,]+ bytes, publish\.gates\.max_bytes allows 1,000: store"),
        (Gates(max_latency_ms=1e-6), r"ms for one event, publish\.gates\.max_latency_ms allows"),
    ],
)
def test_a_model_beyond_its_budget_is_refused(written, registry_config, tmp_path, gates, message):
    model = rival(written, tmp_path / "m", 0.5)
    with pytest.raises(Refused, match=message + r".*there is no champion yet"):
        publish(model, registry_config, gates)
    with pytest.raises(RunError, match="looking up ctr@champion failed"):
        resolve(registry_config)
    assert connect(registry_config).get_registered_model("ctr").aliases == {}


def test_the_last_windows_of_a_journal_come_back_from_a_model_card():
    lines = [
        {"kind": "window", "step": s, "window_end": s, "labelled": 10, "positives": 3, "logloss": x}
        for s, x in ((1, 0.5), (2, None), (3, 0.7), (9, 0.1))
    ]
    found = recent_windows([{"kind": "start", "step": 0}, *lines], step=5)
    assert [(w.end, w.loss) for w in found] == [(1, 5.0), (3, 7.0)]
    assert from_metrics({"recent": to_metrics(found)}) == found
    assert ne_of(found) == pytest.approx(0.6 / 0.6109, rel=1e-3)
    assert from_metrics({}) == []
    assert ne_of([]) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ne_tolerance": -0.1}, "publish.gates.ne_tolerance = -0.1"),
        ({"windows": 51}, "publish.gates.windows = 51: must be 1 to 50"),
        ({"max_bytes": 0}, "publish.gates.max_bytes = 0"),
        ({"max_latency_ms": -1}, "publish.gates.max_latency_ms = -1"),
    ],
)
def test_limits_that_mean_nothing_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        Gates(**change)
