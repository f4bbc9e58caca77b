"""An artifact as an MLflow model folder: code, signature, input example; no pickle."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stream_prune.artifact import Scorer
from stream_prune.registry.client import prepare

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

ARTIFACT = "artifact"
"""The artifact's name in the MLflow model's description."""
BASE = "base"
"""Of a delta: the setting of the MLflow model that says where its base is."""


def package(scorer: Scorer, path: Path, content: Path, base: str | None = None) -> None:
    """Write an MLflow model folder around an artifact.

    Args:
        scorer: loaded from the artifact to package.
        path: the folder to write; must not exist.
        content: the artifact's own folder, or a delta's.
        base: where MLflow keeps the model that the delta goes with; None: it is none.
    """
    prepare()
    import mlflow.pyfunc

    rows, _ = scorer.example()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on the type of an example's columns
        mlflow.pyfunc.save_model(
            path,
            python_model=str(Path(__file__).with_name("scorer_model.py")),
            artifacts={ARTIFACT: str(content)},
            model_config=None if base is None else {BASE: base},
            signature=_signature(rows),
            input_example=rows.slice(0, 5).to_pandas(),
            pip_requirements=[
                f"stream-prune[serve,mlflow]=={version('stream-prune')}",
                f"mlflow=={version('mlflow')}",
            ],
        )


def _signature(rows: pa.Table) -> ModelSignature:
    """Input columns and output; every column may hold nulls as far as MLflow is concerned.

    Numbers are declared as any type: MLflow refuses integers where it was told doubles, and the
    other way round; the scorer takes both and says more clearly what it can't take.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    columns = []
    for field in rows.schema:
        text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        kind = DataType.string if text else AnyType()
        columns.append(ColSpec(kind, field.name, required=False))

    return ModelSignature(
        Schema(columns), Schema([TensorSpec(np.dtype(np.float32), (-1,), "score")])
    )
