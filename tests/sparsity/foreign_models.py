"""Models that this project did not write, as their packages publish them."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from stream_prune.datasets import nyc_flights

VOCABULARY, DIM = 150, 8
DENSE = [column.name for column in nyc_flights.SPEC.dense]
SPARSE = [column.name for column in nyc_flights.SPEC.categorical]


def rechub(name: str, **options: Any) -> nn.Module:
    from torch_rechub.basic.features import DenseFeature, SparseFeature
    from torch_rechub.models import ranking

    dense = [DenseFeature(column) for column in DENSE]
    sparse = [SparseFeature(column, VOCABULARY, embed_dim=DIM) for column in SPARSE]
    mlp = {"dims": [64, 32], "dropout": 0.0, "activation": "relu"}
    if name in ("DeepFM", "WideDeep"):
        return getattr(ranking, name)(dense + sparse, sparse, mlp_params=mlp)
    return getattr(ranking, name)(dense + sparse, 2, mlp_params=mlp, **options)


def deepctr(name: str, **options: Any) -> nn.Module:
    with mock.patch("threading.Thread.start"):  # on import it asks the network for newer versions
        from deepctr_torch import models
        from deepctr_torch.inputs import DenseFeat, SparseFeat

    columns = [
        *(SparseFeat(column, VOCABULARY, embedding_dim=DIM) for column in SPARSE),
        *(DenseFeat(column, 1) for column in DENSE),
    ]
    settings = {"dnn_hidden_units": (64, 32), "init_std": 0.05, **options}
    if name == "PNN":
        return models.PNN(columns, **settings)
    return getattr(models, name)(columns, columns, **settings)


def as_columns(table: dict[str, Tensor], rows: slice) -> tuple[Any]:
    """Inputs as torch-rechub takes them."""
    return ({name: table[name][rows] for name in SPARSE + DENSE},)


def as_matrix(table: dict[str, Tensor], rows: slice) -> tuple[Any]:
    """Inputs as DeepCTR-Torch takes them."""
    return (torch.stack([table[name][rows].float() for name in SPARSE + DENSE], dim=1),)


def random_table(rows: int) -> dict[str, Tensor]:
    """Rows like the flights', at random."""
    dense = {name: torch.randn(rows) for name in DENSE}
    return dense | {name: torch.randint(0, VOCABULARY, (rows,)) for name in SPARSE}


FOREIGN = {
    "rechub DCN": (lambda: rechub("DCN"), as_columns),
    "rechub DCNv2": (lambda: rechub("DCNv2", use_low_rank_mixture=False), as_columns),
    "rechub DeepFM": (lambda: rechub("DeepFM"), as_columns),
    "rechub WideDeep": (lambda: rechub("WideDeep"), as_columns),
    "DeepCTR DCN": (lambda: deepctr("DCN"), as_matrix),
    "DeepCTR DeepFM": (lambda: deepctr("DeepFM", dnn_use_bn=True), as_matrix),
    "DeepCTR xDeepFM": (lambda: deepctr("xDeepFM", cin_layer_size=(16, 16)), as_matrix),
    "DeepCTR PNN": (lambda: deepctr("PNN"), as_matrix),
    "DeepCTR FiBiNET": (lambda: deepctr("FiBiNET"), as_matrix),
}
