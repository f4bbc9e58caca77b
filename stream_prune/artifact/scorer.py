"""Scores with an artifact: NumPy, Arrow and ONNX Runtime; neither torch nor MLflow."""

from __future__ import annotations

from math import exp
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa

from stream_prune.artifact.format import (
    EXAMPLE,
    GRAPH,
    SCORE,
    Manifest,
    read_manifest,
)
from stream_prune.artifact.format import verify as verify_files
from stream_prune.artifact.graph import read_graph
from stream_prune.artifact.inputs import Inputs
from stream_prune.artifact.model_card import ModelCard
from stream_prune.artifact.packed import read_packed
from stream_prune.artifact.requests import Columns, RequestEncoder
from stream_prune.artifact.tables import ArtifactTables, read_arrow
from stream_prune.errors import RunError

_LOGIT = ["logit"]
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


class Scorer:
    """A loaded artifact. Scoring changes nothing, so threads may share one.

    >>> scorer = Scorer.load("model")                          # doctest: +SKIP
    >>> scorer.score({"carrier": ["UA"], "distance": [1400]})  # doctest: +SKIP
    array([0.2134], dtype=float32)
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        card: ModelCard,
        session: onnxruntime.InferenceSession,
    ) -> None:
        self.folder, self.manifest, self.card = folder, manifest, card
        self._session = session
        self._inputs = [i.name for i in session.get_inputs()]
        self.encode = RequestEncoder(card.spec)
        self._tables = ArtifactTables.read(folder, card)

    @classmethod
    def load(cls, folder: str | Path, verify: bool = True, threads: int = 1) -> Scorer:
        """Load an artifact folder.

        Args:
            folder: as :func:`stream_prune.artifact.write.write` left it.
            verify: compare every file's SHA-256 with the manifest first.
            threads: of one call of the head (intra-op); more helps large batches only.

        Raises:
            RunError: a file is missing, extra, changed, or not what the format says.
        """
        folder = Path(folder).resolve()  # ONNX Runtime looks for the weights beside the graph
        manifest = verify_files(folder) if verify else read_manifest(folder)
        card = ModelCard.read(folder)
        return cls(folder, manifest, card, _session(folder, card, threads))

    def score(self, columns: Columns) -> npt.NDArray[np.float32]:
        """Probabilities float32 [B] of the rows, in their order.

        Args:
            columns: the raw input columns of the feature specification, B rows each, as an Arrow
                table or record batch, or lists by name; other columns are ignored.

        Raises:
            ScoreError: names row, column and reason of the first value that can't be used.
        """
        return self.scores_of(self.encode(columns))

    def scores_of(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """Probabilities float32 [B] of rows that :attr:`encode` has encoded already."""
        logits = self.logits_of(inputs)
        if len(logits) == 1:
            return np.array([1.0 / (1.0 + exp(-max(logits.item(), -700.0)))], np.float32)
        # float64 holds exp(700); further out a float32 probability is 0 anyway
        wide = np.maximum(logits.astype(np.float64), -700.0)
        return (1.0 / (1.0 + np.exp(-wide))).astype(np.float32)

    def logits(self, columns: Columns) -> npt.NDArray[np.float32]:
        """What :meth:`score` is the sigmoid of: float32 [B]."""
        return self.logits_of(self.encode(columns))

    def logits_of(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """The same of rows that are encoded already, as those of a mini-batch log are."""
        feed = {}
        if "emb" in self._inputs:
            feed["emb"] = self._tables.look_up(inputs)
        if "dense" in self._inputs:
            feed["dense"] = inputs.dense
        logits: npt.NDArray[np.float32] = self._session.run(_LOGIT, feed)[0]
        return logits

    def example(self) -> tuple[pa.Table, npt.NDArray[np.float32]]:
        """The artifact's example: raw input rows, and the scores that the trainer gave them.

        Raises:
            RunError: the file can't be read.
        """
        table = read_arrow(self.folder / EXAMPLE)
        return table.drop_columns([SCORE]), table.column(SCORE).to_numpy()

    def check_example(self) -> float:
        """Score the example and compare with the trainer's scores.

        Returns:
            The largest difference of two probabilities.

        Raises:
            RunError: it is more than the tolerance that the artifact states.
        """
        rows, expected = self.example()
        difference = float(np.max(np.abs(self.score(rows) - expected), initial=0.0))
        # The sigmoid's slope is 1/4 at most, and its tails are flatter than 1/|logit|.
        if not difference <= self.card.logit_tolerance / 4:
            raise RunError(
                f"{self.folder}: scores its example differently from the trainer (by "
                f"{difference:.2g}, allowed is {self.card.logit_tolerance / 4:.2g}); do not use it"
            )
        return difference


def _session(folder: Path, card: ModelCard, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    tensors, graph = read_packed(folder, card.packed), folder / GRAPH
    names = [(name, tensors[packed.name]) for packed in card.packed for name in packed.initializers]
    try:
        if names:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for _, value in names]
            options.add_external_initializers([name for name, _ in names], values)
        options.add_session_config_entry(_WEIGHTS_FOLDER, str(folder))
        content = read_graph(graph)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise RunError(f"{graph}: cannot be loaded: {error}") from error
