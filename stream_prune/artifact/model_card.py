"""What ``model.json`` says about a model: enough to score with it, and to know where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stream_prune.artifact.format import MODEL, canonical_json, read_json
from stream_prune.artifact.lineage import Lineage
from stream_prune.artifact.packed import PackedCard
from stream_prune.artifact.stored_rows import NUMBERS
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec

LOGIT_TOLERANCE = 1e-4
"""Largest difference of a float32 artifact's logit from the trainer's, relative to max(1, |logit|).

Sums of float32 in another order differ by some 1e-6; a wrong weight, row or feature by far more.
"""


@dataclass(frozen=True)
class TableCard:
    """One embedding table: ``rows`` of its ``capacity`` are owned by ids, ``cold`` by all others.

    ``combine`` (mean or sum) makes one vector of a bag's; of a bag longer than ``most_values`` the
    last values count. ``dim`` is the rows' width where it is less than the model's: the head's file
    has a projection to that, and a row is multiplied by it when it is looked up.
    """

    name: str
    capacity: int
    rows: int
    cold: int = 1
    combine: str = "mean"
    most_values: int | None = None
    dim: int | None = None


@dataclass(frozen=True)
class HeadCard:
    """The dense part: its class and configuration, and the shapes it was pruned to."""

    kind: str
    config: Mapping[str, Any]
    shapes: Mapping[str, list[int]]


@dataclass(frozen=True)
class ModelCard:
    """The content of ``model.json``.

    ``numbers`` names how embedding rows are stored (the head is always float32);
    ``logit_tolerance`` is how far a logit may be from the trainer's, relative to max(1, |logit|):
    :data:`LOGIT_TOLERANCE` for float32, else twice what was found when it was written; ``plan``
    holds the kept units, if any were removed; ``packed`` tells which of the head's tensors are
    stored without their zeros.
    """

    head: HeadCard
    tables: tuple[TableCard, ...]
    dim: int
    spec: FeatureSpec
    lineage: Lineage
    metrics: Mapping[str, Any]
    plan: Mapping[str, Any] | None = None
    packed: tuple[PackedCard, ...] = ()
    numbers: str = "float32"
    logit_tolerance: float = LOGIT_TOLERANCE

    def to_json(self) -> str:
        values = {**vars(self), "features": self.spec.to_dict()}
        del values["spec"]
        values["fingerprint"] = self.spec.fingerprint
        values["head"] = asdict(self.head)
        values["tables"] = [asdict(table) for table in self.tables]
        values["packed"] = [asdict(tensor) for tensor in self.packed]
        values["lineage"] = asdict(self.lineage)
        return canonical_json(values)

    @classmethod
    def read(cls, folder: str | Path) -> ModelCard:
        """The card of an artifact.

        Raises:
            RunError: ``model.json`` is missing, malformed, or at odds with itself.
        """
        path = Path(folder) / MODEL
        values = read_json(path)
        try:
            card = cls(
                head=HeadCard(**values["head"]),
                tables=tuple(TableCard(**table) for table in values["tables"]),
                dim=int(values["dim"]),
                spec=FeatureSpec.from_dict(values["features"]),
                lineage=Lineage(**values["lineage"]),
                metrics=values["metrics"],
                plan=values["plan"],
                packed=tuple(PackedCard(**tensor) for tensor in values["packed"]),
                numbers=values["numbers"],
                logit_tolerance=float(values["logit_tolerance"]),
            )
            fingerprint = values["fingerprint"]
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise RunError(f"{path}: is no model description ({error!r})") from None
        if card.spec.fingerprint != fingerprint:
            raise RunError(
                f"{path}: the feature specification has the fingerprint "
                f"{card.spec.fingerprint[:12]}, the model was trained with {fingerprint[:12]}"
            )
        if card.numbers not in NUMBERS:
            raise RunError(
                f"{path}: numbers = {card.numbers!r}: this version reads {', '.join(NUMBERS)}"
            )
        names = [column.name for column in card.spec.categorical]
        if [table.name for table in card.tables] != names:
            raise RunError(f"{path}: tables and categorical columns differ")
        return card
