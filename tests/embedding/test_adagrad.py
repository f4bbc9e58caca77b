"""The fused update beside torch.nn.Embedding with a dense reference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_prune.embedding import EmbeddingTables, TableConfig, adagrad

LR, EPS = 0.05, 1e-8


def dense_step(weight: torch.Tensor, accumulator: torch.Tensor, gradient: torch.Tensor) -> None:
    """Row-wise Adagrad on all rows, as the papers write it."""
    accumulator += gradient.square().mean(1)
    weight -= LR * gradient / (accumulator.sqrt() + EPS).unsqueeze(1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=40), min_size=1, max_size=5),
    st.integers(1, 17),
    st.integers(0, 2**31),
)
def test_duplicates_are_summed_as_a_dense_embedding_sums_them(batches, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    tables = EmbeddingTables([TableConfig("t", 10, admission=1)], dim, LR, EPS)
    tables.admit(np.arange(10))
    tables.weight.copy_(torch.randn(tables.weight.shape, generator=generator))
    dense = torch.nn.Embedding(10, dim)
    dense.weight.data.copy_(tables.weight[tables.lookup(np.arange(10))])
    accumulator = torch.zeros(10)
    for batch in batches:
        ids = np.array(batch)
        upstream = torch.randn(len(batch), 1, dim, generator=generator)
        (tables(ids).sin() * upstream).sum().backward()
        tables.step()
        dense.zero_grad()
        (dense(torch.from_numpy(ids)).sin() * upstream[:, 0]).sum().backward()
        with torch.no_grad():
            dense_step(dense.weight, accumulator, dense.weight.grad)
    torch.testing.assert_close(
        tables.weight[tables.lookup(np.arange(10))], dense.weight.data, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("rows", [[3, 3, 3, 0, 5], [], [1], [7] * 50])
def test_the_loop_and_torch_agree(rows):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(8, 4, generator=generator)
    gradients = torch.randn(len(rows), 4, generator=generator)
    index = torch.tensor(rows, dtype=torch.int64)
    looped, vectorised = [(start.clone(), torch.full((8,), 0.5)) for _ in range(2)]
    adagrad.RowwiseAdagrad(EPS).step(*looped, index, gradients, LR)
    adagrad.update_torch(*vectorised, index, gradients, LR, EPS)
    torch.testing.assert_close(looped, vectorised)
    untouched = [row for row in range(8) if row not in rows]
    assert torch.equal(looped[0][untouched], start[untouched])


def test_an_update_is_the_same_to_the_bit_every_time():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 50, (4000,), generator=generator)
    gradients = torch.randn(4000, 16, generator=generator)
    results = []
    for _ in range(2):
        weight, accumulator = torch.zeros(50, 16), torch.zeros(50)
        adagrad.RowwiseAdagrad(EPS).step(weight, accumulator, rows, gradients, LR)
        results.append(weight)
    assert torch.equal(*results)
