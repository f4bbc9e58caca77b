"""Writes recbole_vectors.json: scores and losses of RecBole's own models at known weights.

    pip install --no-deps recbole==1.2.1 && pip install torch pandas scipy tqdm colorlog ...
    python tests/models/make_recbole_vectors.py

RecBole wants packages of its own, so it is no dependency of the tests: this was run once, in an
environment made for it (RecBole 1.2.1, torch 2.13). Weights follow from their names by
:func:`weight`, which the tests use, too; nothing of this project is imported.
"""

import json
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

USERS, ITEMS, DIM = 5, 7, 4
PAIRS = [(0, 1), (0, 3), (1, 1), (1, 5), (1, 6), (2, 4), (3, 2), (3, 3), (3, 4), (3, 6)]
"""User 4 has none, nor has item 0, which is padding in RecBole."""
TRIPLES = [(0, 1, 2), (1, 6, 3), (3, 2, 0), (2, 4, 5), (0, 3, 6)]
LABELS = [1, 0, 1, 1, 0]


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Weights in [-0.8, 0.8] that anybody can make again: float32 of the shape."""
    phase = zlib.crc32(name.encode()) % 1000
    values = 0.8 * np.sin(phase + 1.7 * np.arange(int(np.prod(shape)))).reshape(shape)
    return torch.from_numpy(values.astype(np.float32))


def fill(model: torch.nn.Module, names: dict[str, str]) -> torch.nn.Module:
    """Set every parameter; ``names`` maps the model's names to those of the weights."""
    with torch.no_grad():
        for name, param in model.named_parameters():
            param.copy_(weight(names[name], tuple(param.shape)))
    return model.eval()


class Data:
    """What RecBole's models ask a data set for."""

    def num(self, field: str) -> int:
        return {"user": USERS, "item": ITEMS}[field]

    def inter_matrix(self, form: str) -> sp.coo_matrix:
        user, item = np.array(PAIRS).T
        return sp.coo_matrix((np.ones(len(PAIRS)), (user, item)), (USERS, ITEMS))

    def history_item_matrix(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = [[item for user, item in PAIRS if user == who] for who in range(USERS)]
        longest = max(map(len, rows))
        ids = [row + [0] * (longest - len(row)) for row in rows]
        values = [[1.0] * len(row) + [0.0] * (longest - len(row)) for row in rows]
        return torch.tensor(ids), torch.tensor(values), torch.tensor([len(row) for row in rows])


def config(**settings: object) -> dict[str, object]:
    return {
        "USER_ID_FIELD": "user",
        "ITEM_ID_FIELD": "item",
        "LABEL_FIELD": "label",
        "NEG_PREFIX": "neg_",
        "device": torch.device("cpu"),
        **settings,
    }


def main() -> None:
    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = None  # wanted by an import, used by no model
    sys.modules.setdefault("torch.utils.tensorboard", board)
    # A private method of scipy that RecBole calls and that newer ones don't have.
    sp.dok_matrix._update = lambda matrix, entries: matrix._dict.update(entries)
    from recbole.model.general_recommender.lightgcn import LightGCN
    from recbole.model.general_recommender.multivae import MultiVAE
    from recbole.model.general_recommender.neumf import NeuMF

    user, item, negative = torch.tensor(TRIPLES).T
    batch = {
        "user": user,
        "item": item,
        "neg_item": negative,
        "label": torch.tensor(LABELS).float(),
    }
    every = torch.arange(USERS).repeat_interleave(ITEMS), torch.arange(ITEMS).repeat(USERS)
    found: dict[str, object] = {}

    neumf = NeuMF(
        config(
            mf_embedding_size=DIM,
            mlp_embedding_size=DIM,
            mlp_hidden_size=[6, 3],
            dropout_prob=0.0,
            mf_train=True,
            mlp_train=True,
            use_pretrain=False,
            mf_pretrain_path=None,
            mlp_pretrain_path=None,
        ),
        Data(),
    )
    names = {
        "user_mf_embedding.weight": "user_factors.weight",
        "item_mf_embedding.weight": "item_factors.weight",
        "user_mlp_embedding.weight": "user_features.weight",
        "item_mlp_embedding.weight": "item_features.weight",
        "predict_layer.weight": "output.weight",
        "predict_layer.bias": "output.bias",
    }
    # RecBole's layers are (dropout, linear, activation) three by three.
    for ours, theirs in ((0, 1), (2, 4)):
        for leaf in ("weight", "bias"):
            names[f"mlp_layers.mlp_layers.{theirs}.{leaf}"] = f"mlp.{ours}.{leaf}"
    fill(neumf, names)
    found["neumf"] = {
        "scores": neumf(*every).view(USERS, ITEMS).tolist(),
        "loss": neumf.calculate_loss(batch).item(),
    }

    gcn = LightGCN(
        config(embedding_size=DIM, n_layers=3, reg_weight=0.0, require_pow=False), Data()
    )
    fill(gcn, {"user_embedding.weight": "users.weight", "item_embedding.weight": "items.weight"})
    users, items = gcn.forward()
    found["lightgcn"] = {
        "scores": (users @ items.T).tolist(),
        "loss": gcn.calculate_loss(batch).item(),
    }

    vae = MultiVAE(
        config(
            mlp_hidden_size=[6],
            latent_dimension=2 * DIM,
            dropout_prob=0.0,
            anneal_cap=0.2,
            total_anneal_steps=0,
        ),
        Data(),
    )
    fill(vae, {name: name for name, _ in vae.named_parameters()})
    watched = {"user": torch.arange(4)}  # user 4 has no items
    rows = vae.get_rating_matrix(watched["user"])
    found["multvae"] = {"scores": vae(rows)[0].tolist(), "loss": vae.calculate_loss(watched).item()}

    Path(__file__).with_name("recbole_vectors.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
