"""The heads score as other people's modules do at the same weights.

None of these packages has DLRM or DHEN: DLRM is held to the paper's formula in test_dlrm.py, and
DHEN's attention to torch's own encoder layer here.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from stream_prune.models import (
    DCNHead,
    DCNHeadConfig,
    DeepFMHead,
    FirstOrderHeadConfig,
    WideDeepHead,
)
from stream_prune.models.interactions import SelfAttention

ROWS, DENSE, TABLES, IDS, VECTOR, TOP = 64, 3, 4, 20, 6, (16, 8)
IDS_IN, DENSE_IN = [f"c{i}" for i in range(TABLES)], [f"d{i}" for i in range(DENSE)]


def randomised(model: nn.Module) -> Any:
    """Weights that are all of one size, as no initialisation leaves them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for param in model.parameters():
            param.copy_(torch.randn(param.shape, generator=generator) * 0.3)
    return model.eval()


def rows() -> tuple[Tensor, Tensor]:
    """Ids [B, F] and dense features [B, N]."""
    torch.manual_seed(0)
    return torch.randint(0, IDS, (ROWS, TABLES)), torch.randn(ROWS, DENSE).clamp(-3, 3)


def deepctr(name: str, **options: Any) -> Any:
    with mock.patch("threading.Thread.start"):  # on import it asks the network for newer versions
        from deepctr_torch import models
        from deepctr_torch.inputs import DenseFeat, SparseFeat

    columns = [SparseFeat(column, IDS, embedding_dim=VECTOR) for column in IDS_IN]
    columns += [DenseFeat(column, 1) for column in DENSE_IN]
    return randomised(getattr(models, name)(columns, columns, dnn_hidden_units=TOP, **options))


def table_rows(peer: Any, ids: Tensor, *, linear: bool) -> Tensor:
    """The rows [B, F, D] of DeepCTR-Torch's tables, the linear weights first."""
    parts = (peer.linear_model.embedding_dict, peer.embedding_dict)[0 if linear else 1 :]
    fields = [torch.cat([part[c](ids[:, i]) for part in parts], 1) for i, c in enumerate(IDS_IN)]
    return torch.stack(fields, 1)


def copy_layers(layers: Any, sources: Any) -> None:
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for layer, source in zip(linears, sources, strict=True):
        layer.load_state_dict(source.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("name", ["DeepFM", "WDL"])
def test_deepfm_and_wide_deep_score_as_deepctr_torch(name: str) -> None:
    peer, (ids, dense) = deepctr(name), rows()
    if name == "DeepFM":
        head: Any = DeepFMHead(FirstOrderHeadConfig(DENSE, TABLES, VECTOR + 1, TOP)).eval()
        first = head.linear
    else:
        head = WideDeepHead(FirstOrderHeadConfig(DENSE, TABLES, VECTOR + 1, TOP)).eval()
        first = head.wide
    copy_layers(head.deep[:-1], peer.dnn.linears)
    head.deep[-1].weight.copy_(peer.dnn_linear.weight)
    head.deep[-1].bias.copy_(peer.out.bias)
    first.weight.copy_(peer.linear_model.weight[:, 0])
    logits = head(dense, table_rows(peer, ids, linear=True))
    wanted = peer(torch.cat([ids.float(), dense], 1))[:, 0]
    assert wanted.std() > 0.05
    torch.testing.assert_close(logits.sigmoid(), wanted, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_parallel_dcn_scores_as_deepctr_torch_with_the_products_of_its_matrices() -> None:
    peer, (ids, dense) = deepctr("DCN", cross_parameterization="matrix", cross_num=3), rows()
    for param in peer.linear_model.parameters():
        param.zero_()  # it has a linear model beside, which the paper's has not
    config = DCNHeadConfig(DENSE, TABLES, VECTOR, TOP, layers=3, rank=5, structure="parallel")
    head = randomised(DCNHead(config))
    copy_layers(head.deep, peer.dnn.linears)
    for i, layer in enumerate(head.cross):
        peer.crossnet.kernels[i] = layer.mix[1].weight @ layer.mix[0].weight
        peer.crossnet.bias[i, :, 0] = layer.mix[1].bias
    head.out.weight.copy_(peer.dnn_linear.weight)
    head.out.bias.copy_(peer.out.bias)
    logits = head(dense, table_rows(peer, ids, linear=False))
    wanted = peer(torch.cat([ids.float(), dense], 1))[:, 0]
    assert wanted.std() > 0.05
    torch.testing.assert_close(logits.sigmoid(), wanted, rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("rank", [5, None])
def test_stacked_dcn_scores_as_torch_rechub(rank: int | None) -> None:
    from torch_rechub.basic.features import DenseFeature, SparseFeature
    from torch_rechub.models.ranking import DCNv2

    features = [SparseFeature(column, IDS, embed_dim=VECTOR) for column in IDS_IN]
    features += [DenseFeature(column) for column in DENSE_IN]
    mlp = {"dims": list(TOP), "dropout": 0.0, "activation": "relu"}
    options = {"model_structure": "stacked", "use_low_rank_mixture": False}
    peer: Any = randomised(DCNv2(features, 2, mlp_params=mlp, **options))
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm1d):  # it normalises where the paper does not
            module.eps = 0.0
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    ids, dense = rows()
    head = randomised(DCNHead(DCNHeadConfig(DENSE, TABLES, VECTOR, TOP, layers=2, rank=rank)))
    copy_layers(head.deep, [m for m in peer.stacked_dnn.mlp if isinstance(m, nn.Linear)])
    for i, layer in enumerate(head.cross):
        full = layer.mix if rank is None else layer.mix[1]
        full.bias.zero_()  # the peer's bias stands outside of the product with x0
        peer.crossnet.b[i].zero_()
        product = full.weight if rank is None else full.weight @ layer.mix[0].weight
        peer.crossnet.w[i].weight.copy_(product)
    copy_layers([head.out], [m for m in peer.linear.modules() if isinstance(m, nn.Linear)])
    tables = peer.embedding.embed_dict
    emb = torch.stack([tables[column](ids[:, i]) for i, column in enumerate(IDS_IN)], 1)
    given = dict(zip(IDS_IN, ids.unbind(1), strict=True))
    given |= dict(zip(DENSE_IN, dense.unbind(1), strict=True))
    wanted = peer(given)
    assert wanted.std() > 0.05
    torch.testing.assert_close(head(dense, emb).sigmoid(), wanted, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_attention_of_dhen_is_torchs_own_encoder_layer_and_a_mix() -> None:
    dim, heads, hidden = 8, 2, 12
    attention = randomised(SelfAttention(5, dim, 3, heads, dim // heads, hidden))
    peer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout=0.0, batch_first=True).eval()
    parts = (attention.query, attention.key, attention.value)
    peer.self_attn.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    none = torch.zeros(dim)
    peer.self_attn.in_proj_bias.copy_(
        torch.cat([none if part.bias is None else part.bias for part in parts])
    )
    peer.self_attn.out_proj.load_state_dict(attention.join.state_dict())
    copy_layers([peer.linear1, peer.linear2], [attention.deep[0], attention.deep[2]])
    peer.norm1.load_state_dict(attention.attended.state_dict())
    peer.norm2.load_state_dict(attention.fed.state_dict())
    x = torch.randn(4, 5, dim)
    wanted = torch.einsum("lm,bmd->bld", attention.mix.linear.weight, peer(x))
    torch.testing.assert_close(attention(x), wanted, rtol=1e-5, atol=1e-5)
