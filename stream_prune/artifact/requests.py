"""Raw feature columns to encoded ones for scoring: all of a request, or an error that says why.

A single row of plain Python values has a short way of its own, because the columnar encoder costs
some 40 us a column whatever the number of rows. It takes only what needs no judgement; all else,
and so every refusal and its wording, goes to the encoder. A property test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_prune.encoding import encode
from stream_prune.errors import ConfigError
from stream_prune.features import FLOAT32_MAX, INTEGER, MISSING_ID, Dense, FeatureSpec, hash_string

Columns: TypeAlias = pa.RecordBatch | pa.Table | Mapping[str, Sequence[Any]]
"""Raw input columns by name; columns that the specification does not name are ignored."""


class ScoreError(ConfigError):
    """A request that can't be scored: ``row`` (0-based), ``column`` (where known), ``reason``."""

    def __init__(self, reason: str, *, column: str | None = None, row: int | None = None) -> None:
        self.reason, self.column, self.row = reason, column, row
        where = [] if row is None else [f"row {row}"]
        where += [] if column is None else [f"column {column!r}"]
        super().__init__(": ".join([", ".join(where), reason] if where else [reason]))


@dataclass(frozen=True)
class Inputs:
    """Encoded features of B rows: ``dense`` float32 [B, N]; per categorical column its ids.

    ``offsets`` [B + 1] of a multi-valued column say where each row's ids begin; None: one id a row.
    """

    dense: npt.NDArray[np.float32]
    ids: tuple[npt.NDArray[np.int64], ...]
    offsets: tuple[npt.NDArray[np.int64] | None, ...]

    @property
    def rows(self) -> int:
        return len(self.dense)


class RequestEncoder:
    """Encodes scoring requests by a feature specification."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._row = RowEncoder(spec)

    def __call__(self, columns: Columns) -> Inputs:
        """Encode a request of B >= 1 rows.

        Raises:
            ScoreError: a column is missing, columns differ in length, or a value can't be used.
        """
        if isinstance(columns, Mapping):
            plain = self._row(columns)
            if plain is not None:
                return plain
        batch = self._batch(columns)
        if batch.num_rows == 0:
            raise ScoreError("there are no rows to score")
        try:
            encoded = encode(self.spec, batch, labels=False)
        except (ConfigError, pa.ArrowException) as error:
            raise self._located(str(error)) from None
        if encoded.reasons:
            row, reason = encoded.reasons[0]
            raise self._located(reason, row)
        return self._inputs(encoded.batch)

    def _batch(self, columns: Columns) -> pa.RecordBatch:
        names = list(columns) if isinstance(columns, Mapping) else columns.schema.names
        for name in self.spec.inputs:
            if name not in names:
                raise ScoreError(
                    f"is missing; there are: {', '.join(map(str, names)) or 'none'}", column=name
                )
            if names.count(name) > 1:
                raise ScoreError("is there twice", column=name)
        arrays = [_array(name, columns[name]) for name in self.spec.inputs]
        for name, array in zip(self.spec.inputs, arrays, strict=True):
            if len(array) != len(arrays[0]):
                raise ScoreError(
                    f"has {len(array)} rows, column {self.spec.inputs[0]!r} has {len(arrays[0])}",
                    column=name,
                )
        return pa.RecordBatch.from_arrays(arrays, names=list(self.spec.inputs))

    def _inputs(self, batch: pa.RecordBatch) -> Inputs:
        dense = np.empty((batch.num_rows, len(self.spec.dense)), np.float32)
        for i, column in enumerate(self.spec.dense):
            dense[:, i] = batch.column(column.name).to_numpy()
        ids, offsets = [], []
        for categorical in self.spec.categorical:
            values = batch.column(categorical.name)
            if categorical.multi:
                ids.append(values.flatten().to_numpy())
                begins = values.offsets.to_numpy().astype(np.int64)
                offsets.append(begins - begins[0])
            else:
                ids.append(values.to_numpy())
                offsets.append(None)
        return Inputs(dense, tuple(ids), tuple(offsets))

    def _located(self, message: str, row: int | None = None) -> ScoreError:
        """The encoder's message, with the column that it begins with as a field of its own."""
        for name in self.spec.inputs:
            for separator in (": ", " "):
                start = f"column {name!r}{separator}"
                if message.startswith(start):
                    return ScoreError(message.removeprefix(start), column=name, row=row)
        return ScoreError(message, row=row)


class RowEncoder:
    """The short way for one row of plain values; None for whatever it leaves to the encoder."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._log1p = [i for i, c in enumerate(spec.dense) if c.transform == "log1p"]
        self._clip = [(i, c.low, c.high) for i, c in enumerate(spec.dense) if c.transform == "clip"]

    def __call__(self, columns: Mapping[str, Sequence[Any]]) -> Inputs | None:
        """Encode ``columns``, each a list of one value; None if anything is out of the ordinary."""
        dense = np.empty(len(self._spec.dense))
        ids: list[npt.NDArray[np.int64]] = []
        offsets: list[npt.NDArray[np.int64] | None] = []
        for i, column in enumerate(self._spec.dense):
            number = _plain_number(column, columns.get(column.name))
            if number is None:
                return None
            dense[i] = number
        for categorical in self._spec.categorical:
            values = columns.get(categorical.name)
            if not isinstance(values, list) or len(values) != 1:
                return None
            bag = values[0] if categorical.multi else values
            found = _plain_ids(categorical.type, bag)
            if found is None:
                return None
            ids.append(np.array(found, np.int64))
            offsets.append(np.array([0, len(found)]) if categorical.multi else None)
        if self._log1p:
            dense[self._log1p] = np.log1p(np.maximum(dense[self._log1p], 0.0))
        for i, low, high in self._clip:
            dense[i] = np.clip(dense[i], low, high)
        return Inputs(dense.astype(np.float32)[None], tuple(ids), tuple(offsets))


def _plain_number(column: Dense, values: Sequence[Any] | None) -> float | None:
    if not isinstance(values, list) or len(values) != 1:
        return None
    value = values[0]
    if value is None:
        return column.missing
    if type(value) is int and not -(2**63) <= value < 2**63:
        return None
    if type(value) not in (int, float) or not -FLOAT32_MAX <= value <= FLOAT32_MAX:
        return None
    return float(value)


def _plain_ids(kind: str, bag: Any) -> list[int] | None:
    """Ids of a list of strings or a list of integers, nulls allowed."""
    if not isinstance(bag, list):
        return None
    held = {type(value) for value in bag} - {type(None)}
    if kind == INTEGER:
        if not held <= {int} or any(v is not None and not 0 <= v < MISSING_ID for v in bag):
            return None
        return [MISSING_ID if value is None else value for value in bag]
    if held == {int}:
        if any(value is not None and not -(2**63) <= value < 2**63 for value in bag):
            return None
    elif not held <= {str}:
        return None
    try:
        return [MISSING_ID if value is None else hash_string(str(value)) for value in bag]
    except UnicodeEncodeError:  # half a surrogate pair
        return None


def _array(name: str, values: Any) -> pa.Array:
    """A column as one Arrow array."""
    if isinstance(values, (str, bytes)) or not isinstance(
        values, (Sequence, np.ndarray, pa.Array, pa.ChunkedArray)
    ):
        raise ScoreError("must be a list of values, one a row", column=name)
    try:
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else _from_python(values)
    except OverflowError:
        raise ScoreError("holds an integer that int64 can't hold", column=name) from None
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise ScoreError(f"holds values that don't go together: {error}", column=name) from None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array


def _from_python(values: Sequence[Any] | npt.NDArray[Any]) -> pa.Array:
    return pa.array(values, from_pandas=isinstance(values, np.ndarray))
