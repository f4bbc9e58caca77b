"""The code of the published MLflow model (models from code): the artifact's own scorer.

MLflow copies this file into the model and runs it when the model is loaded; nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
from mlflow.pyfunc import PythonModel, PythonModelContext

from stream_prune.artifact import Scorer
from stream_prune.artifact.delta import DELTA, apply_delta
from stream_prune.artifact.format import MANIFEST
from stream_prune.features import FeatureSpec


class ScorerModel(PythonModel):  # type: ignore[misc]
    """``predict(frame)`` gives one probability a row."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["artifact"])
        if not (folder / DELTA).exists():
            self._scorer = Scorer.load(folder)
            return
        with TemporaryDirectory(prefix="stream-prune-whole.") as temporary:
            base = mlflow.artifacts.download_artifacts(context.model_config["base"])
            (whole,) = Path(base).glob(f"artifacts/*/{MANIFEST}")
            apply_delta(folder, whole.parent, Path(temporary) / "artifact")
            self._scorer = Scorer.load(Path(temporary) / "artifact")

    def predict(self, model_input: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Score raw rows; the columns are those of the feature specification."""
        rows = pa.Table.from_pandas(model_input, preserve_index=False)
        return self._scorer.score(_with_integer_ids(rows, self._scorer.card.spec))


def _with_integer_ids(rows: pa.Table, spec: FeatureSpec) -> pa.Table:
    """Integer ids as integers again: pandas makes them floats where one of them is missing."""
    for column in spec.categorical:
        at = rows.schema.get_field_index(column.name)
        if at < 0 or not pa.types.is_floating(rows.schema.field(at).type):
            continue
        try:
            rows = rows.set_column(at, column.name, rows.column(at).cast(pa.int64()))
        except pa.ArrowInvalid:  # not whole: the scorer says what is wrong with it
            continue
    return rows


mlflow.models.set_model(ScorerModel())
