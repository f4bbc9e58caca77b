"""The compiled loops of the dot interaction against its products, and when which is taken."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from stream_prune.models import pairwise_dots
from stream_prune.models.aligned import padding
from stream_prune.models.dlrm import DLRMHead, DLRMHeadConfig
from stream_prune.models.pairwise_dots import PairwiseDots


def read(vector, others, *, looped, monkeypatch, zeros=0, gradient=None):
    """What the interaction gives and its gradients, one way or the other."""
    head = DLRMHead(DLRMHeadConfig(0, others.shape[1], others.shape[2], (), (4,)))
    vector, others = (x.clone().requires_grad_() for x in (vector, others))
    monkeypatch.setattr(pairwise_dots, "LOOPS", looped)
    monkeypatch.setattr(pairwise_dots, "LOOP_THREADS", torch.get_num_threads())
    found = PairwiseDots.apply(vector, others, head.triangle, head.mirror, zeros)
    assert found.grad_fn.looped is looped
    found.backward(torch.ones_like(found) if gradient is None else gradient)
    return found.detach(), vector.grad, others.grad


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(0, 5),
    tables=st.integers(1, 40),
    dim=st.integers(1, 40),
    zeros=st.integers(0, 17),
    seed=st.integers(0, 99),
)
def test_loops_give_what_products_give(rows, tables, dim, zeros, seed):
    torch.manual_seed(seed)
    vector, others = torch.randn(rows, dim), torch.randn(rows, tables, dim)
    pairs = (tables + 1) * tables // 2
    gradient = torch.randn(rows, dim + pairs + zeros)
    with pytest.MonkeyPatch.context() as patch:
        both = [
            read(vector, others, looped=way, monkeypatch=patch, zeros=zeros, gradient=gradient)
            for way in (True, False)
        ]
    torch.testing.assert_close(*both, rtol=1e-5, atol=1e-5)


def test_any_strides(monkeypatch):
    torch.manual_seed(0)
    vector, others = torch.randn(8, 6).T, torch.randn(5, 8, 6).permute(2, 0, 1)
    gradient = torch.randn(8 + 15, 6).T
    both = [
        read(vector, others, looped=way, monkeypatch=monkeypatch, gradient=gradient)
        for way in (True, False)
    ]
    torch.testing.assert_close(*both, rtol=1e-5, atol=1e-5)


def test_what_is_not_finite_stays_with_its_example(monkeypatch):
    vector, others = torch.ones(3, 4), torch.ones(3, 2, 4)
    others[1, 0, 0] = torch.inf
    found, of_vector, of_others = read(vector, others, looped=True, monkeypatch=monkeypatch)
    for numbers in (found, of_vector, of_others):
        assert torch.isfinite(numbers[[0, 2]]).all()
        assert not torch.isfinite(numbers[1]).all()


def test_one_step_of_training_is_the_same_either_way(monkeypatch):
    taken = []
    for looped in (True, False):
        torch.manual_seed(0)
        head = DLRMHead(DLRMHeadConfig(3, 5, 8, bottom=(16,), top=(12,)))
        assert padding(8 + 15)  # zero columns are a part of it
        dense, emb = torch.randn(7, 3), torch.randn(7, 5, 8, requires_grad=True)
        monkeypatch.setattr(pairwise_dots, "LOOPS", looped)
        monkeypatch.setattr(pairwise_dots, "LOOP_THREADS", torch.get_num_threads())
        head(dense, emb).square().sum().backward()
        taken.append([emb.grad, *(p.grad for p in head.parameters())])
    torch.testing.assert_close(*taken, rtol=1e-4, atol=1e-5)


def test_a_vector_in_bfloat16_has_its_gradient_in_bfloat16(monkeypatch):
    torch.manual_seed(0)
    vector, others = torch.randn(4, 8).bfloat16(), torch.randn(4, 3, 8)
    found, of_vector, of_others = read(vector, others, looped=True, monkeypatch=monkeypatch)
    wanted, of_floats, others_too = read(
        vector.float(), others, looped=True, monkeypatch=monkeypatch
    )
    assert of_vector.dtype == torch.bfloat16
    torch.testing.assert_close([found, of_others], [wanted, others_too])
    torch.testing.assert_close(of_vector.float(), of_floats, rtol=1e-2, atol=1e-2)


def test_products_are_counted_where_somebody_counts():
    head = DLRMHead(DLRMHeadConfig(0, 3, 4, (), (4,)))
    with FlopCounterMode(display=False) as counted:
        PairwiseDots.apply(
            torch.ones(2, 4, requires_grad=True), torch.ones(2, 3, 4), head.triangle, head.mirror, 0
        )
    assert counted.get_total_flops() == 2 * 2 * 4 * 4 * 4


def test_a_compiled_head_learns_as_a_plain_one():
    torch.manual_seed(0)
    head = DLRMHead(DLRMHeadConfig(3, 5, 8, bottom=(16,), top=(12,)))
    dense, emb = torch.randn(7, 3), torch.randn(7, 5, 8)
    taken = []
    for way in (head, torch.compile(copy.deepcopy(head), backend="aot_eager", fullgraph=True)):
        given = emb.clone().requires_grad_()
        way(dense, given).square().sum().backward()
        taken.append([given.grad, *(p.grad for p in way.parameters())])
    torch.testing.assert_close(*taken)


@pytest.mark.parametrize(
    ("dtype", "threads", "autocast", "looped"),
    [
        (torch.float32, 1, False, True),
        (torch.float32, 2, False, True),
        (torch.float32, 3, False, False),
        (torch.float64, 1, False, False),
        (torch.float32, 1, True, True),
    ],
)
def test_loops_are_for_embeddings_in_float32_on_a_cpu_of_few_threads(
    dtype, threads, autocast, looped, monkeypatch
):
    products = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *given: products.append(1) or bmm(*given))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    head = DLRMHead(DLRMHeadConfig(0, 3, 4, (), (4,)))
    vector = torch.ones(2, 4, dtype=dtype, requires_grad=True)
    others = torch.ones(2, 3, 4, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        PairwiseDots.apply(vector, others, head.triangle, head.mirror, 0)
    assert bool(products) is not looped
