"""Models that this project did not write, as their packages publish them, on real flights."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from foreign_models import DENSE, FOREIGN, SPARSE, VOCABULARY, deepctr
from torch import Tensor, nn
from torch.optim import Adam

from stream_prune.datasets import nyc_flights
from stream_prune.encoding import encode
from stream_prune.sparsity import ADS, Budget, SparsityController
from stream_prune.sparsity.graph_groups import graph_groups

ROWS, BATCH = 6000, 200


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The first labelled flights: standardised dense columns, ids folded into a vocabulary."""
    (path,) = nyc_flights.prepare(tmp_path_factory.mktemp("flights"), rows=ROWS)
    raw = pq.read_table(path).combine_chunks().to_batches()[0]
    batch = encode(nyc_flights.SPEC, raw).batch
    label = batch["__label"].to_numpy(zero_copy_only=False)
    known = ~np.isnan(label)
    columns = {"label": torch.tensor(label[known])}
    for name in DENSE:
        values = batch[name].to_numpy(zero_copy_only=False)[known]
        scaled = (values - values.mean()) / max(float(values.std()), 1e-6)
        columns[name] = torch.tensor(scaled, dtype=torch.float32)
    for name in SPARSE:
        ids = batch[name].to_numpy(zero_copy_only=False)[known]
        columns[name] = torch.tensor(ids % VOCABULARY)
    return columns


TWO_LAYERS = {"dnn.linears.0": 64, "dnn.linears.1": 32}
CASES: dict[str, tuple[dict[str, int], set[str]]] = {
    "rechub DCN": ({"mlp.mlp.0": 64, "mlp.mlp.4": 32}, {"cn.w.0", "cn.w.1", "linear.fc"}),
    "rechub DCNv2": (
        {"parallel_dnn.mlp.0": 64, "parallel_dnn.mlp.4": 32},
        {"crossnet.w.0", "crossnet.w.1", "linear.fc"},
    ),
    "rechub DeepFM": ({"mlp.mlp.0": 64, "mlp.mlp.4": 32}, {"mlp.mlp.8", "linear.fc"}),
    "rechub WideDeep": ({"mlp.mlp.0": 64, "mlp.mlp.4": 32}, {"mlp.mlp.8", "linear.fc"}),
    "DeepCTR DCN": (TWO_LAYERS, {"dnn_linear"}),
    "DeepCTR DeepFM": (TWO_LAYERS, {"dnn_linear"}),
    "DeepCTR xDeepFM": (
        {**TWO_LAYERS, "cin.conv1ds.1": 16},
        {"dnn_linear", "cin_linear", "cin.conv1ds.0"},
    ),
    "DeepCTR PNN": (TWO_LAYERS, {"dnn_linear"}),
    "DeepCTR FiBiNET": (
        {**TWO_LAYERS, "SE.excitation.0": 2},
        {
            "dnn_linear",
            "SE.excitation.2",
            *(f"Bilinear.bilinear.{pair}" for pair in range(28)),
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_trains_through_shrink_and_grow_and_what_stays_dense_is_named(
    case: str, flights: dict[str, Tensor]
) -> None:
    build, inputs = FOREIGN[case]
    groups, refused = CASES[case]
    torch.manual_seed(0)
    model = build()
    optimizer = Adam(model.parameters(), 1e-3)
    controller = SparsityController(
        model,
        optimizer,
        policy=ADS(
            warmup_rows=1200,
            shrink_steps=2,
            clock_rows=4000,
            rate_sparse=1.0,
            rate_grown=1.0,
            regrow_density=0.95,
            regrow_windows=2,
            regrow_steps=1,
            settle_windows=0,
        ),
        budget=Budget(macs=0.75, min_units=4, round_to=4),
        example=inputs(flights, slice(0, 8)),
        window_rows=800,
    )
    assert {group.name: group.units for group in controller.groups} == groups
    assert set(controller.refused) == refused
    assert all(controller.refused.values())
    full = sum(p.numel() for p in model.parameters())
    events, losses = [], []
    for start in 2 * list(range(0, len(flights["label"]) - BATCH, BATCH)):
        rows = slice(start, start + BATCH)
        scores = model(*inputs(flights, rows)).reshape(-1)
        loss = nn.functional.binary_cross_entropy(scores, flights["label"][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        events += controller.step(loss, rows=BATCH)
    kinds = [event.kind for event in events]
    assert kinds == ["shrink", "shrink", "grow", "shrink"]
    half = len(losses) // 2
    first, second = (sum(part) / half for part in (losses[:half], losses[half:]))
    assert second < first
    assert controller.cost().macs_inference <= 0.75 * controller.dense_cost.macs_inference
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == controller.cost().parameters < full
    for name, kept in controller.plan.widths.items():
        assert model.get_submodule(name).weight.shape[0] == kept
    assert min(controller.plan.widths.values()) < 64


def test_a_search_for_couplings_that_goes_round_in_circles_is_given_up() -> None:
    """In DeepCTR's DCN it takes ten times the graph's couplings; in its AutoInt, all the memory."""
    model = deepctr("DCN").double().eval()
    batch = torch.zeros(4, len(SPARSE + DENSE), dtype=torch.float64)
    refused: dict[str, str] = {}
    found = graph_groups(model, lambda: model(batch), list(TWO_LAYERS), {}, refused)
    assert set(found) == {"dnn.linears.0"}
    assert "couplings lead away" in refused["dnn.linears.1"]
