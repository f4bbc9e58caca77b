"""The code of a published recommender (models from code): it needs torch and safetensors alone.

MLflow copies this file into the model and runs it when the model is loaded. The class comes from
the source that was published with the weights, ``model.py``; nothing is unpickled.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped]
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext
from safetensors.torch import load_file


class RecommenderModel(PythonModel):  # type: ignore[misc]
    """``predict(frame)`` gives a score for every item a row: [rows, items].

    The frame has a column ``user``, numbers as in training; of MultVAE, which knows no users, a
    column ``items`` instead: the items that a user has, as lists.
    """

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["recommender"])
        told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        code = _module(folder / told["files"]["code"])
        lists = {k: tuple(v) if isinstance(v, list) else v for k, v in told["sizes"].items()}
        sizes = getattr(code, f"{told['class']}Config")(**lists)
        given: list[Any] = []
        if "pairs" in told["files"]:
            pairs = load_file(folder / told["files"]["pairs"])
            given = [pairs["users"], pairs["items"]]
        self._items: int = sizes.items
        self._model = getattr(code, told["class"])(sizes, *given)
        self._model.load_state_dict(load_file(folder / told["files"]["weights"]))
        self._model.eval()

    @torch.no_grad()
    def predict(self, model_input: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Scores of every item, also of those that a user has already."""
        if "items" in model_input:
            asked = torch.zeros(len(model_input), self._items)
            for row, items in enumerate(model_input["items"]):
                asked[row, torch.as_tensor(np.asarray(items, np.int64))] = 1.0
        else:
            asked = torch.tensor(model_input["user"].to_numpy(np.int64))
        scores: npt.NDArray[np.float32] = self._model.scores(asked).float().numpy()
        return scores


def _module(path: Path) -> Any:
    """The published source as a module, under a name by which its dataclasses find it."""
    name = f"published_{path.parent.name}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


mlflow.models.set_model(RecommenderModel())
