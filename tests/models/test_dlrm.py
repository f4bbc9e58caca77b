"""The DLRM head: what it computes, and that it trains, exports and can be pruned."""

import io

import numpy as np
import onnxruntime
import pytest
import torch
import torch_pruning as tp

from stream_prune.models import DLRMHead, DLRMHeadConfig
from stream_prune.models.pairwise_dots import PairwiseDots

SHAPES = [(3, 4, 8), (3, 1, 4), (3, 0, 4), (0, 4, 8), (0, 1, 4)]  # dense, tables, dim


def head(dense: int = 3, tables: int = 4, dim: int = 8) -> DLRMHead:
    torch.manual_seed(0)
    return DLRMHead(DLRMHeadConfig(dense, tables, dim, bottom=(16,), top=(12, 6)))


def batch(model: DLRMHead, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    config = model.config
    return torch.randn(rows, config.dense), torch.randn(rows, config.tables, config.dim)


def plain_logits(model: DLRMHead, dense: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
    """The head as the paper says it, one pair at a time."""
    if model.config.dense:
        vector = model.bottom(model.standardise(dense))
    else:
        vector = model.constant.expand(len(emb), -1)
    vectors = [vector, *emb.unbind(1)]
    dots = [(vectors[i] * vectors[j]).sum(1) for i in range(len(vectors)) for j in range(i)]
    return model.top(torch.column_stack([vector, *dots]))[:, 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_and_gradients_are_those_of_the_paper(shape):
    model = head(*shape)
    dense, emb = batch(model, 5)
    model(dense, emb)
    model.eval()
    emb.requires_grad_()
    results = []
    for forward in (model, lambda d, e: plain_logits(model, d, e)):
        model.zero_grad()
        emb.grad = None
        logits = forward(dense, emb)
        assert logits.shape == (5,)
        logits.sigmoid().sum().backward()
        inputs = torch.zeros_like(emb) if emb.grad is None else emb.grad
        results.append((logits, inputs, *(p.grad for p in model.parameters())))
    torch.testing.assert_close(*results)
    with torch.no_grad():
        torch.testing.assert_close(model(dense, emb), results[1][0])


@pytest.mark.parametrize("shape", SHAPES)
def test_projected_logits_are_those_of_the_formula(shape):
    dense, tables, dim = shape
    torch.manual_seed(0)
    model = DLRMHead(DLRMHeadConfig(dense, tables, dim, (16,), (12,), projected=3)).eval()
    dense, emb = batch(model, 5)
    vector = model.bottom(model.standardise(dense)) if shape[0] else model.constant.expand(5, -1)
    vectors = torch.cat([vector.unsqueeze(1), emb], 1)
    mixtures = torch.einsum("kn,bnd->bkd", model.dots.projection.weight, vectors)
    dots = torch.einsum("bnd,bkd->bnk", vectors, mixtures).reshape(5, -1)
    wanted = model.top(torch.cat([vector, dots], 1))[:, 0]
    torch.testing.assert_close(model(dense, emb), wanted)


def test_gradients_agree_with_finite_differences():
    model = head(2, 3, 4).double().eval()
    vector = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    emb = torch.randn(3, 3, 4, dtype=torch.double, requires_grad=True)

    def logits(vector: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        return model.top(PairwiseDots.apply(vector, emb, model.triangle, model.mirror, 0))

    assert torch.autograd.gradcheck(logits, (vector, emb))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_onnx_head_scores_any_batch_size_as_torch_does(shape):
    model = head(*shape)
    model(*batch(model, 64))
    model.eval()
    rows = torch.export.Dim("rows")
    program = torch.onnx.export(
        model,
        batch(model, 4),
        dynamo=True,
        dynamic_shapes=({0: rows}, {0: rows}),
        input_names=["dense", "emb"],
        verbose=False,
    )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    names = {i.name for i in session.get_inputs()}
    for size in (1, 7, 300):
        dense, emb = batch(model, size)
        feeds = {"dense": dense.numpy(), "emb": emb.numpy()}
        (scores,) = session.run(None, {k: v for k, v in feeds.items() if k in names})
        with torch.no_grad():
            np.testing.assert_allclose(scores, model(dense, emb).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 8), (0, 4, 8)])
def test_hidden_units_are_found_by_the_dependency_graph_and_come_out_alone(shape):
    model = head(*shape).eval()
    example = batch(model, 4)
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    hidden = [model.top[0], model.top[2]] + ([model.bottom[0]] if shape[0] else [])
    for layer in hidden:
        group = graph.get_pruning_group(layer, tp.prune_linear_out_channels, idxs=[0, 2])
        linears = {
            d.dep.target.module for d in group if isinstance(d.dep.target.module, torch.nn.Linear)
        }
        assert len(linears) == 2
        group.prune()
    assert model.top[0].out_features == 10
    model(*batch(model, 9)).sum().backward()


def test_a_head_learns_an_interaction():
    torch.manual_seed(0)
    model = head(2, 2, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        dense, emb = batch(model, 128)
        label = ((emb[:, 0] * emb[:, 1]).sum(1) > 0).float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(dense, emb), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dense": -1}, "dense = -1"),
        ({"dim": 0}, "dim = 0"),
        ({"top": (8, 0)}, "top = "),
        ({"dense": 0, "tables": 0}, "dense features or tables"),
    ],
)
def test_sizes_out_of_range_are_refused(sizes, message):
    values = {"dense": 1, "tables": 1, "dim": 2, "bottom": (), "top": ()} | sizes
    with pytest.raises(ValueError, match=message):
        DLRMHeadConfig(**values)


def test_no_hidden_layers_is_a_head_too():
    model = DLRMHead(DLRMHeadConfig(2, 1, 4, bottom=(), top=()))
    assert model(*batch(model, 3)).shape == (3,)
