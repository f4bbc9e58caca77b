"""Running statistics are those of all rows at once, whatever the batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_prune.models import RunningStandardise


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 2**31))
def test_batches_merge_to_the_statistics_of_all_rows(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    scale, shift = torch.tensor([1e-3, 1.0, 1e4]), torch.tensor([1.0, 0.0, -3e6])
    batches = [torch.randn(n, 3, generator=generator) * scale + shift for n in sizes]
    layer = RunningStandardise(3)
    for batch in batches:
        layer(batch)
    rows = torch.cat(batches).double()
    assert layer.count.item() == len(rows)
    if len(rows):
        torch.testing.assert_close(layer.mean, rows.mean(0), rtol=1e-10, atol=1e-9)
        torch.testing.assert_close(layer.var, rows.var(0, correction=0), rtol=1e-6, atol=1e-14)


def test_training_normalises_with_the_batch_that_it_has_just_seen():
    torch.manual_seed(0)
    x = 7 + 3 * torch.randn(4096, 2)
    out = RunningStandardise(2)(x)
    torch.testing.assert_close(out.mean(0), torch.zeros(2), rtol=0, atol=1e-3)
    torch.testing.assert_close(out.std(0), torch.ones(2), rtol=0, atol=1e-2)


def test_scoring_changes_no_statistics():
    layer = RunningStandardise(2)
    layer(torch.randn(10, 2))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.eval()
    layer(100 + torch.randn(10, 2))
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_before_the_first_row_the_input_passes_as_it_is():
    layer = RunningStandardise(2).eval()
    torch.testing.assert_close(layer(torch.tensor([[0.5, -2.0]])), torch.tensor([[0.5, -2.0]]))


def test_outliers_are_clipped_and_a_constant_gives_zero():
    layer = RunningStandardise(2)
    layer(torch.tensor([[0.0, 1e6], [1.0, 1e6], [0.5, 1e6]]))
    out = layer.eval()(torch.tensor([[1e9, 1e6], [-1e9, 1e6]]))
    assert out.tolist() == [[5.0, 0.0], [-5.0, 0.0]]


@pytest.mark.parametrize("train_first", [True, False])
def test_statistics_travel_in_the_state(train_first):
    trained, fresh = RunningStandardise(2), RunningStandardise(2)
    if train_first:
        fresh(torch.randn(5, 2))
    trained(torch.randn(50, 2) * 9)
    fresh.load_state_dict(trained.state_dict())
    x = torch.randn(4, 2)
    assert torch.equal(trained(x), fresh(x))
    assert torch.equal(trained.var, fresh.var)
