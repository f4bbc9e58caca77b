"""What a model sees of an event: one specification, for training and for serving.

Strings become stable non-negative 63-bit ids (xxh3, the same
in every version and on every machine); running statistics are no business of this file: they are a
buffer of the model and travel with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from stream_prune.errors import ConfigError

MISSING_ID = 2**63 - 1
"""The id of a missing category; no string hashes to it and no integer id may be it."""

EVENT_TIME = "__event_time"
LABEL = "__label"
EVENT_KEY = "__event_key"
PARTITION = "__partition"
OFFSET = "__offset"

TRANSFORMS = ("identity", "log1p", "clip")
_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(value: str | int | float) -> int:
    """Milliseconds of ``"250ms"``, ``"10s"``, ``"15min"``, ``"6h"``, ``"1d"``; a bare number is seconds.

    >>> duration_ms("6h"), duration_ms("1d"), duration_ms(2)
    (21600000, 86400000, 2000)
    """
    text = f"{value}s" if isinstance(value, (int, float)) else value.strip()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :]
    try:
        milliseconds = float(number) * _UNITS_MS[unit]
    except (KeyError, ValueError):
        raise ConfigError(
            f"{value!r} is no duration: write a number and one of {', '.join(_UNITS_MS)}"
        ) from None
    if milliseconds < 0 or milliseconds != int(milliseconds):
        raise ConfigError(
            f"{value!r} is no duration: it must be a whole number of milliseconds, 0 or more"
        )
    return int(milliseconds)


@dataclass(frozen=True)
class Dense:
    """A numeric column: ``missing`` replaces nulls and NaN, then ``transform`` is applied.

    ``clip`` limits to ``[low, high]``; ``log1p`` is log(1 + x) of x clipped at 0 from below.
    Without ``missing`` a row that lacks the value is invalid.
    """

    name: str
    transform: str = "identity"
    low: float | None = None
    high: float | None = None
    missing: float | None = None

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise ConfigError(
                f"dense column {self.name!r}: transform = {self.transform!r}: must be one of {', '.join(TRANSFORMS)}"
            )
        if (self.transform == "clip") != (self.low is not None and self.high is not None):
            raise ConfigError(
                f"dense column {self.name!r}: low and high go with transform: clip, and only with it"
            )


@dataclass(frozen=True)
class Categorical:
    """A column of ids: strings are hashed, integers in [0, 2^63 - 2] are taken as they are.

    ``multi`` marks a list of ids per row. A missing value is the id :data:`MISSING_ID`.
    """

    name: str
    multi: bool = False


@dataclass(frozen=True)
class FeatureSpec:
    """The columns of an event and what they mean.

    ``label`` is 0, 1 or null (unlabelled: scored, never learned or evaluated); it counts as known
    ``label_delay_ms`` after ``event_time``. ``event_key``, if named, identifies an event.
    """

    dense: tuple[Dense, ...]
    categorical: tuple[Categorical, ...]
    label: str
    event_time: str
    event_key: str | None = None
    label_delay_ms: int = 0

    def __post_init__(self) -> None:
        if not self.categorical:
            raise ConfigError("features.categorical: at least one categorical column is needed")
        names = [*self.columns]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"features: column {name!r} is named twice")
            if name.startswith("__"):
                raise ConfigError(
                    f"features: column {name!r}: names that begin with __ are reserved"
                )

    @property
    def columns(self) -> tuple[str, ...]:
        """Every raw column that an event must have."""
        key = () if self.event_key is None else (self.event_key,)
        return (*self.inputs, self.label, self.event_time, *key)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The raw columns that a model sees: what a scoring request must have."""
        return (*(c.name for c in self.dense), *(c.name for c in self.categorical))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides an encoded value; equal specs have equal ones."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {
            "dense": [{k: v for k, v in vars(c).items() if v is not None} for c in self.dense],
            "categorical": [vars(c).copy() for c in self.categorical],
            "label": self.label,
            "event_time": self.event_time,
            "event_key": self.event_key,
            "label_delay_ms": self.label_delay_ms,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FeatureSpec:
        """The inverse of :meth:`to_dict`; a column may also be a bare name, the delay a duration."""
        values = dict(values)
        delay = values.pop("label_delay", None)
        if delay is not None:
            values["label_delay_ms"] = duration_ms(delay)
        try:
            return cls(
                dense=tuple(_column(Dense, c) for c in values.pop("dense", ())),
                categorical=tuple(_column(Categorical, c) for c in values.pop("categorical", ())),
                **values,
            )
        except TypeError as error:
            raise ConfigError(
                f"features: {str(error).removeprefix('FeatureSpec.__init__() ')}"
            ) from None


C = TypeVar("C", Dense, Categorical)


def _column(kind: type[C], value: str | Mapping[str, Any]) -> C:
    try:
        return kind(value) if isinstance(value, str) else kind(**value)
    except TypeError:
        known = ", ".join(kind.__dataclass_fields__)
        raise ConfigError(
            f"features: {kind.__name__.lower()} column {value!r}: known keys are {known}"
        ) from None


def hash_strings(values: pa.Array) -> npt.NDArray[np.int64]:
    """Stable ids in [0, 2^63 - 2] of a string array [B]; null gives :data:`MISSING_ID`.

    Each distinct value is hashed once: ``xxh3_64(utf-8) >> 1``.
    """
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    ids = np.fromiter(
        (min(xxhash.xxh3_64_intdigest(w.encode()) >> 1, MISSING_ID - 1) for w in words),
        np.int64,
        len(words),
    )
    codes = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    hashed: npt.NDArray[np.int64] = np.append(ids, MISSING_ID)[codes]
    return hashed


def load_spec(path: str | Path) -> FeatureSpec:
    """A FeatureSpec from a YAML file.

    Raises:
        ConfigError: the file can't be read or says something a FeatureSpec can't be.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as a feature specification: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a feature specification is a mapping")
    try:
        return FeatureSpec.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def inputs_batch(spec: FeatureSpec, columns: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
    """Plain lists of a scoring request as a raw record batch."""
    return pa.RecordBatch.from_pydict(
        {name: pa.array(columns[name]) for name in spec.inputs if name in columns}
    )
