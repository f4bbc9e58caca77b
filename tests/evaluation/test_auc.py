import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.errors import ConfigError
from stream_prune.evaluation.auc import StreamAuc, auc

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=60)


def pairs_in_order(labels: np.ndarray, scores: np.ndarray) -> float | None:
    positive, negative = scores[labels == 1], scores[labels == 0]
    if not len(positive) or not len(negative):
        return None
    difference = positive[:, None] - negative[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def arrays(values: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([label for label, _ in values], np.float32)
    scores = np.array([score / 20 for _, score in values], np.float32)
    return labels, scores


@given(rows)
def test_auc_is_the_share_of_ordered_pairs_with_ties_counted_half(values):
    labels, scores = arrays(values)
    assert auc(labels, scores) == pytest.approx(pairs_in_order(labels, scores), abs=1e-12)


@given(rows, st.integers(0, 2**32 - 1))
def test_auc_does_not_depend_on_the_order_of_rows(values, seed):
    labels, scores = arrays(values)
    shuffle = np.random.default_rng(seed).permutation(len(labels))
    assert auc(labels[shuffle], scores[shuffle]) == auc(labels, scores)


@given(rows, st.sampled_from([2, 16, 2**16]))
def test_the_streaming_auc_is_within_its_own_error_bound(values, bins):
    labels, scores = arrays(values)
    stream = StreamAuc(bins)
    half = len(labels) // 2
    stream.add(labels[:half], scores[:half])
    stream.add(labels[half:], scores[half:])
    exact = auc(labels, scores)
    if exact is None:
        assert stream.value is None
    else:
        assert abs(stream.value - exact) <= stream.error + 1e-12


def test_the_streaming_auc_of_realistic_scores_is_exact_to_five_digits():
    rng = np.random.default_rng(3)
    logits = rng.normal(-1.5, 1.0, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    scores = (1 / (1 + np.exp(-logits + rng.normal(0, 0.5, 20_000)))).astype(np.float32)
    stream = StreamAuc()
    stream.add(labels, scores)
    assert stream.error < 1e-4
    assert stream.value == pytest.approx(auc(labels, scores), abs=1e-5)


def test_a_streaming_auc_of_one_bin_is_refused():
    with pytest.raises(ConfigError, match="bins = 1"):
        StreamAuc(1)
