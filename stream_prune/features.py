"""What a model sees of an event: one specification, for training and for serving.

Categories become stable non-negative 63-bit ids (xxh3, the same in every version and on every
machine), and the same one whatever holds the event: CSV, Parquet or JSON. Running statistics are
no business of this file: they are a buffer of the model and travel with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
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

FLOAT32_MAX = float(np.finfo(np.float32).max)

EVENT_TIME = "__event_time"
LABEL = "__label"
EVENT_KEY = "__event_key"
SERVED_SCORE = "__served_score"
PARTITION = "__partition"
OFFSET = "__offset"

TRANSFORMS = ("identity", "log1p", "clip")
STRING, INTEGER = "string", "integer"

_ENCODING = 2  # raised when equal specifications would encode to other values: other fingerprints
_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS_MS)})", re.ASCII)


def duration_ms(value: str | int | float) -> int:
    """Milliseconds of ``"250ms"``, ``"10s"``, ``"15min"``, ``"6h"``, ``"1d"``; a number is seconds.

    >>> duration_ms("6h"), duration_ms("1d"), duration_ms(2)
    (21600000, 86400000, 2000)

    Raises:
        ConfigError: it is none, or no whole number of milliseconds from 0 on.
    """
    text = value if isinstance(value, str) else f"{value}s"
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"{value!r} is no duration: write a number and one of {', '.join(_UNITS_MS)}"
        )
    milliseconds = Decimal(match[1]) * _UNITS_MS[match[2]]
    if milliseconds >= 2**53 or milliseconds != int(milliseconds):
        raise ConfigError(f"{value!r} is no duration: it must be a whole number of milliseconds")
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
        _check_name("dense", self.name)
        place = f"features: dense column {self.name!r}"
        if self.transform not in TRANSFORMS:
            raise ConfigError(
                f"{place}: transform = {self.transform!r}: must be one of {', '.join(TRANSFORMS)}"
            )
        for field in ("low", "high", "missing"):
            value = getattr(self, field)
            if value is not None:  # 0, 0.0 and -0.0 are one value and have one fingerprint
                object.__setattr__(self, field, _finite(f"{place}: {field}", value) + 0.0)
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if len(bounds) != (2 if self.transform == "clip" else 0):
            raise ConfigError(f"{place}: low and high go with transform: clip, and only with it")
        if bounds != sorted(bounds):
            raise ConfigError(f"{place}: low = {self.low} is above high = {self.high}")


@dataclass(frozen=True)
class Categorical:
    """A column of categories, each with an id.

    ``type`` says what they are, whatever holds them: CSV knows only text, Parquet and JSON have
    integers too. ``string``: text is hashed; an integer counts as its decimal text, a boolean as
    ``true`` or ``false``. ``integer``: integers in [0, 2^63 - 2] are the ids; text must be one
    (``"007"`` is 7), other text makes the row invalid.

    ``multi`` marks a list of categories per row. A missing category is the id :data:`MISSING_ID`, a
    missing list is an empty one.
    """

    name: str
    multi: bool = False
    type: str = STRING

    def __post_init__(self) -> None:
        _check_name("categorical", self.name)
        place = f"features: categorical column {self.name!r}"
        if not isinstance(self.multi, bool):
            raise ConfigError(f"{place}: multi = {self.multi!r}: must be true or false")
        if self.type not in (STRING, INTEGER):
            raise ConfigError(f"{place}: type = {self.type!r}: must be {STRING} or {INTEGER}")


def _check_name(role: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigError(f"features: {role} = {name!r}: must be the name of a column")
    if name.startswith("__"):
        raise ConfigError(f"features: column {name!r}: names that begin with __ are reserved")


def _finite(place: str, value: object) -> float:
    refused = f"{place} = {value!r}: must be a finite float32 number"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(refused)
    if not abs(value) <= FLOAT32_MAX:
        raise ConfigError(refused)
    return float(value)


@dataclass(frozen=True)
class FeatureSpec:
    """The columns of an event and what they mean.

    ``label`` is 0, 1 or null (unlabelled: scored, never learned or evaluated); it counts as known
    ``label_delay_ms`` after ``event_time``. ``event_key``, if named, identifies an event.
    ``served_score``, if named, is the probability that was served for it (null: none was): it is
    judged beside the scores of the model in training, and no model sees it.
    """

    dense: tuple[Dense, ...]
    categorical: tuple[Categorical, ...]
    label: str
    event_time: str
    event_key: str | None = None
    label_delay_ms: int = 0
    served_score: str | None = None

    def __post_init__(self) -> None:
        if not self.categorical:
            raise ConfigError("features.categorical: at least one categorical column is needed")
        _check_name("label", self.label)
        _check_name("event_time", self.event_time)
        for role in ("event_key", "served_score"):
            if getattr(self, role) is not None:
                _check_name(role, getattr(self, role))
        for name in self.columns:
            if self.columns.count(name) > 1:
                raise ConfigError(f"features: column {name!r} is named twice")
        delay = self.label_delay_ms
        if not isinstance(delay, int) or isinstance(delay, bool) or not 0 <= delay < 2**53:
            raise ConfigError(
                f"features: label_delay_ms = {delay!r}: must be a whole number, 0 or more"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Every raw column that an event must have."""
        named = (self.event_key, self.served_score)
        others = (name for name in named if name is not None)
        return (*self.inputs, self.label, self.event_time, *others)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The raw columns that a model sees: what a scoring request must have."""
        return (*(c.name for c in self.dense), *(c.name for c in self.categorical))

    @cached_property
    def by_name(self) -> Mapping[str, Dense | Categorical]:
        """The columns that a model sees, by their names."""
        columns: tuple[Dense | Categorical, ...] = (*self.dense, *self.categorical)
        return {column.name: column for column in columns}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over all that decides an encoded value; equal specs have equal ones."""
        parts = {"encoding": _ENCODING, **self.to_dict()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain values for JSON or YAML."""
        served = {} if self.served_score is None else {"served_score": self.served_score}
        return {
            "dense": [{k: v for k, v in vars(c).items() if v is not None} for c in self.dense],
            "categorical": [vars(c).copy() for c in self.categorical],
            "label": self.label,
            "event_time": self.event_time,
            "event_key": self.event_key,
            "label_delay_ms": self.label_delay_ms,
            **served,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FeatureSpec:
        """The inverse of :meth:`to_dict`; a column may be a bare name, the delay a duration.

        Raises:
            ConfigError: a key is unknown, missing, or has a value that it can't have.
        """
        known = (*(field.name for field in fields(cls)), "label_delay")
        for key in values:
            if key not in known:
                raise ConfigError(f"features: unknown key {key!r}: known are {', '.join(known)}")
        for key in ("categorical", "label", "event_time"):
            if key not in values:
                raise ConfigError(f"features: {key} is missing")
        given = dict(values)
        if "label_delay" in given:
            if "label_delay_ms" in given:
                raise ConfigError("features: give label_delay or label_delay_ms, not both")
            given["label_delay_ms"] = duration_ms(given.pop("label_delay"))
        given["dense"] = _columns(Dense, "dense", given.get("dense", ()))
        given["categorical"] = _columns(Categorical, "categorical", given["categorical"])
        return cls(**given)


C = TypeVar("C", Dense, Categorical)


def _columns(kind: type[C], role: str, values: object) -> tuple[C, ...]:
    if not isinstance(values, (list, tuple)):
        raise ConfigError(f"features.{role} = {values!r}: must be a list of columns")
    return tuple(_column(kind, role, value) for value in values)


def _column(kind: type[C], role: str, value: object) -> C:
    if isinstance(value, str):
        return kind(value)
    known = [field.name for field in fields(kind)]
    if not isinstance(value, Mapping) or not {"name"} <= set(value) <= set(known):
        raise ConfigError(
            f"features.{role}: {value!r}: must be a name, or a mapping with the key name and maybe "
            f"{', '.join(known[1:])}"
        )
    return kind(**value)


def hash_strings(values: pa.Array) -> npt.NDArray[np.int64]:
    """Stable ids in [0, 2^63 - 2] of a string array [B]; null gives :data:`MISSING_ID`.

    Each distinct value is hashed once: ``xxh3_64(utf-8) >> 1``.
    """
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    words = encoded.dictionary.cast(pa.large_binary()).to_pylist()
    hashes = (MISSING_ID if word is None else hash_string(word) for word in words)
    ids = np.fromiter(hashes, np.int64, len(words))
    codes = encoded.indices.cast(pa.int64()).fill_null(len(words)).to_numpy()
    hashed: npt.NDArray[np.int64] = np.append(ids, MISSING_ID)[codes]
    return hashed


def hash_string(word: str | bytes) -> int:
    """The stable id of one string, in [0, 2^63 - 2]: the same as :func:`hash_strings` gives."""
    data = word.encode() if isinstance(word, str) else word
    return min(xxhash.xxh3_64_intdigest(data) >> 1, MISSING_ID - 1)


def load_spec(path: str | Path) -> FeatureSpec:
    """A FeatureSpec from a YAML file.

    Raises:
        ConfigError: the file can't be read or says something a FeatureSpec can't be.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as a feature specification: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a feature specification is a mapping")
    try:
        return FeatureSpec.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
