"""Rows in float16 and int8: near the trained ones, checked before anybody sees them, and small."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from small_model import SINGLE, SPEC, raw_rows, trained

from stream_prune.artifact import Scorer
from stream_prune.artifact.config import ArtifactConfig
from stream_prune.artifact.encoded import inputs_of
from stream_prune.artifact.requests import RequestEncoder
from stream_prune.artifact.rounding import probes
from stream_prune.artifact.stored_rows import NUMBERS, StoredRows, store
from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.batch import BatchName, MiniBatch

ROUNDED = ("float16", "int8")
tables = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-8, 8, width=32),
)


def back(rows, numbers):
    stored = StoredRows([store(rows, numbers)], numbers, rows.shape[1])
    return stored.take(np.arange(len(rows)))


@given(rows=tables)
def test_an_8_bit_row_is_within_half_a_step_of_its_own_range(rows):
    found = back(rows, "int8")
    reach = rows.max(axis=1) - rows.min(axis=1)
    # half a step, plus what offset and scale lose to float16 (11 bits; 6e-8 near zero)
    step = reach / 255 + np.abs(rows).max(axis=1) * 2**-18 + 1e-7
    assert (np.abs(found - rows) <= 0.51 * step[:, None] * 1.01 + 1e-6).all()


@given(rows=tables)
def test_a_half_precision_row_is_within_its_eleven_bits(rows):
    assert (np.abs(back(rows, "float16") - rows) <= np.abs(rows) * 2**-11 + 3e-8).all()


@given(rows=tables)
def test_float32_rows_are_themselves(rows):
    np.testing.assert_array_equal(back(rows, "float32"), rows)


@given(parts=st.lists(st.integers(0, 5), min_size=1, max_size=4), numbers=st.sampled_from(NUMBERS))
def test_tables_lie_one_after_another(parts, numbers):
    rng = np.random.default_rng(sum(parts))
    rows = [rng.normal(size=(count, 3)).astype(np.float32) for count in parts]
    stored = StoredRows([store(table, numbers) for table in rows], numbers, 3)
    for first, table in zip(stored.first[:-1], rows, strict=True):
        found = stored.take(first + np.arange(len(table)))
        np.testing.assert_array_equal(found, back(table, numbers))


@pytest.mark.parametrize("numbers", ROUNDED)
@pytest.mark.parametrize("value", [1e6, np.inf, np.nan])
def test_a_value_that_does_not_fit_is_an_error(numbers, value):
    with pytest.raises(RunError, match=r"not finite, or greater than 16,376"):
        store(np.array([[0, value]], np.float32), numbers)


def test_rows_of_another_kind_than_the_card_says_are_an_error():
    with pytest.raises(RunError, match="rows of int8, dim 3, are uint8 of width 7"):
        StoredRows([np.zeros((2, 3), np.float32)], "int8", 3)


@pytest.fixture(scope="module", params=ROUNDED)
def rounded(request, model, tmp_path_factory):
    config = ArtifactConfig(rows=request.param)
    return model.write(tmp_path_factory.mktemp(request.param) / "model", config=config)


def test_a_rounded_model_scores_within_the_tolerance_that_it_states(model, rounded):
    scorer, raw = Scorer.load(rounded), raw_rows(400, seed=7)
    exact, found = logit(model.score(raw)), scorer.logits(raw)
    allowed = scorer.card.logit_tolerance
    assert (np.abs(found - exact) <= allowed * np.maximum(1, np.abs(exact)) + 1e-4).all()
    assert np.abs(found - exact).max() > 1e-5  # it is rounded indeed
    assert scorer.check_example() <= allowed / 4


def logit(scores):
    scores = scores.astype(np.float64)
    return np.log(scores / (1 - scores))


def test_rounded_rows_take_fewer_bytes(written, model, rounded):
    rows = sum(table.rows_used + 1 for table in model.tables.tables.values())
    saved = {"float16": 2 * model.tables.dim, "int8": 3 * model.tables.dim - 4}
    size = [(f / "tables.safetensors").stat().st_size for f in (written, rounded)]
    numbers = Scorer.load(rounded).card.numbers
    assert size[0] - size[1] == pytest.approx(rows * saved[numbers], abs=16)


@pytest.mark.parametrize("numbers", ROUNDED)
def test_a_rounded_model_without_bags_scores_alike(numbers, tmp_path):
    model = trained(seed=3, spec=SINGLE)
    scorer = Scorer.load(model.write(tmp_path / "m", config=ArtifactConfig(rows=numbers)))
    raw = raw_rows(50, seed=5)
    np.testing.assert_allclose(scorer.score(raw), model.score(raw), atol=1e-3)


def test_rounding_that_changes_logits_too_much_writes_nothing(model, tmp_path):
    strict = ArtifactConfig(rows="int8", logit_tolerance=2e-4)
    with pytest.raises(RunError, match=r"rows stored as int8 change a logit by up to .* float16"):
        model.write(tmp_path / "m", config=strict)
    assert list(tmp_path.iterdir()) == []


def batches(model, rows, seed=11):
    """What a log holds of raw rows, with labels that agree with the model's scores."""
    raw = raw_rows(rows, seed=seed)
    dense, ids, offsets = model.arrays(raw)
    labels = (np.random.default_rng(seed).random(rows) < model.score(raw)).astype(np.float32)
    labels[0] = np.nan
    times = np.arange(rows)
    return [MiniBatch(BatchName(1, 0, 0), times, dense.numpy(), ids, offsets, labels)]


def test_what_rounding_loses_in_ne_is_measured_and_told(model, tmp_path):
    config = ArtifactConfig(rows="int8")
    folder = model.write(tmp_path / "m", config=config, judged=batches(model, 300))
    told = Scorer.load(folder).card.metrics["rounding"]
    assert told["labelled"] == 299
    assert 0 < abs(told["ne_lost"]) < 0.0005


def test_rounding_that_loses_too_much_ne_writes_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr("stream_prune.artifact.write.ne_lost", lambda *_: (0.00051, 99))
    with pytest.raises(RunError, match=r"add 0\.051% to the normalized entropy of the last 99"):
        model.write(tmp_path / "m", config=ArtifactConfig(rows="int8"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spec", [SPEC, SINGLE])
def test_rows_of_a_log_score_as_their_raw_ones(spec, tmp_path):
    model = trained(seed=4, steps=2, spec=spec)
    scorer, raw = Scorer.load(model.write(tmp_path / "m")), raw_rows(40, seed=2)
    dense, ids, offsets = model.arrays(raw)
    label = np.zeros(40, np.float32)
    batch = MiniBatch(BatchName(1, 0, 0), np.arange(40), dense.numpy(), ids, offsets, label)
    found = scorer.logits_of(inputs_of(batch, spec))
    np.testing.assert_allclose(found, scorer.logits(raw), atol=1e-5)


def test_probes_know_every_kind_of_id():
    model = trained(steps=2)
    example = RequestEncoder(SPEC)(raw_rows(30))
    known = [table.ids() for table in model.tables.tables.values()]
    made = probes(example, known, rows=500)
    assert made.rows == 500
    for ids, own, bags in zip(made.columns, known, made.bounds, strict=True):
        assert np.isin(ids, own).mean() > 0.8
        assert len(ids) == (500 if bags is None else bags[-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": "int4"}, "artifact.rows = 'int4': must be one of float32, float16, int8"),
        ({"logit_tolerance": 0}, "artifact.logit_tolerance = 0"),
        ({"ne_loss": -1}, "artifact.ne_loss = -1"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        ArtifactConfig(**change)


def test_the_stated_tolerance_reads_well(rounded):
    stated = json.loads((rounded / "model.json").read_text())["logit_tolerance"]
    assert len(f"{stated:g}") <= 7
