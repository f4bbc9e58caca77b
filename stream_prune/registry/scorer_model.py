"""The code of the published MLflow model (models from code): the artifact's own scorer.

MLflow copies this file into the model and runs it when the model is loaded; nothing is unpickled.
"""

from __future__ import annotations

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
from mlflow.pyfunc import PythonModel, PythonModelContext

from stream_prune.artifact import Scorer


class ScorerModel(PythonModel):  # type: ignore[misc]
    """``predict(frame)`` gives one probability a row."""

    def load_context(self, context: PythonModelContext) -> None:
        self._scorer = Scorer.load(context.artifacts["artifact"])

    def predict(self, model_input: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Score raw rows; the columns are those of the feature specification."""
        return self._scorer.score(pa.Table.from_pandas(model_input, preserve_index=False))


mlflow.models.set_model(ScorerModel())
