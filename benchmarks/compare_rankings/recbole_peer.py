"""Trains RecBole's own model on a split given, with RecBole's own trainer and evaluation.

    python recbole_peer.py MODEL FOLDER EPOCHS RATE SEED

Run by ``peer.py`` with the interpreter of an environment that has RecBole 1.2.1 (its requirements
can't be met together with this project's); it imports nothing of this project. FOLDER holds
``ml/ml.{train,validation,test}.inter``. The last line of its output is JSON.
"""

import contextlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

SAMPLES = {"distribution": "uniform", "dynamic": False, "candidate_num": 0}
MODELS = {
    "NeuMF": (
        "NeuMF",
        {
            "train_batch_size": 5 * 256,  # with negatives
            "mf_embedding_size": 16,
            "mlp_embedding_size": 16,
            "mlp_hidden_size": [32, 16, 8],
            "dropout_prob": 0.0,
            "train_neg_sample_args": {**SAMPLES, "sample_num": 4},
        },
    ),
    "LightGCN": (
        "LightGCN",
        {
            "train_batch_size": 1024,
            "embedding_size": 64,
            "n_layers": 3,
            "reg_weight": 1e-4,
            "require_pow": True,
            "train_neg_sample_args": {**SAMPLES, "sample_num": 1},
        },
    ),
    "MultVAE": (
        "MultiVAE",
        {
            "train_batch_size": 100,
            "mlp_hidden_size": [600],
            "latent_dimension": 400,  # means and log variances
            "dropout_prob": 0.5,
            "anneal_cap": 0.2,
            "total_anneal_steps": 2000,
            "train_neg_sample_args": None,
        },
    ),
}


def main(name: str, folder: str, epochs: str, rate: str, seed: str) -> None:
    torch.set_num_threads(1)
    settle()
    from recbole.quick_start import run_recbole

    model, settings = MODELS[name]
    every = {
        "data_path": folder,
        "benchmark_filename": ["train", "validation", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "mode": "full"},
        "metrics": ["Recall", "NDCG"],
        "topk": [20],
        "valid_metric": "NDCG@20",
        "epochs": int(epochs),
        "eval_step": max(1, int(epochs) // 20),
        "stopping_step": 1000,  # all epochs are made
        "learning_rate": float(rate),
        "seed": int(seed),
        "use_gpu": False,
        "show_progress": False,
        "checkpoint_dir": str(Path(folder) / "saved"),
    }
    with contextlib.redirect_stdout(sys.stderr):
        found = run_recbole(model=model, dataset="ml", config_dict=every | settings)
    test = found["test_result"]
    print(json.dumps({"recall": float(test["recall@20"]), "ndcg": float(test["ndcg@20"])}))


def settle() -> None:
    """What RecBole 1.2.1 takes for granted and newer libraries no longer have."""
    for old, new in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
        if not hasattr(np, old):
            setattr(np, old, new)
    if not hasattr(sp.dok_matrix, "_update"):
        sp.dok_matrix._update = lambda matrix, entries: matrix._dict.update(entries)
    load = torch.load  # of its own checkpoint, written a moment before
    torch.load = lambda *args, **kwargs: load(*args, **{"weights_only": False, **kwargs})
    # Imported with everything, used in searches and by a board of figures only.
    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Nothing
    sys.modules["torch.utils.tensorboard"] = board
    ray = types.ModuleType("ray")
    ray.tune = types.ModuleType("ray.tune")
    sys.modules.update({"ray": ray, "ray.tune": ray.tune})


class Nothing:
    """Takes every call."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None


if __name__ == "__main__":
    main(*sys.argv[1:])
