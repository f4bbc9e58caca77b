"""Raw feature columns to encoded ones for scoring: all of a request, or an error that says why.

A single row of plain Python values has a short way of its own, because the columnar encoder costs
some 40 us a column whatever the number of rows. It takes only what needs no judgement; all else,
and so every refusal and its wording, goes to the encoder. A property test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_prune.artifact.inputs import Inputs
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError
from stream_prune.features import FLOAT32_MAX, INTEGER, MISSING_ID, FeatureSpec, hash_string

Columns: TypeAlias = pa.RecordBatch | pa.Table | Mapping[str, Sequence[Any]]
"""Raw input columns by name; columns that the specification does not name are ignored."""


class ScoreError(ConfigError):
    """A request that can't be scored: ``row`` (0-based), ``column`` (where known), ``reason``."""

    def __init__(self, reason: str, *, column: str | None = None, row: int | None = None) -> None:
        self.reason, self.column, self.row = reason, column, row
        where = [] if row is None else [f"row {row}"]
        where += [] if column is None else [f"column {column!r}"]
        super().__init__(": ".join([", ".join(where), reason] if where else [reason]))


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
        return Inputs.of(dense, ids, offsets)

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
        self._dense = [(column.name, column.missing) for column in spec.dense]
        self._log1p = [i for i, c in enumerate(spec.dense) if c.transform == "log1p"]
        self._clip = [(i, c.low, c.high) for i, c in enumerate(spec.dense) if c.transform == "clip"]
        self._categorical = [(c.name, c.type == INTEGER, c.multi) for c in spec.categorical]
        self._bags = any(column.multi for column in spec.categorical)

    def __call__(self, columns: Mapping[str, Sequence[Any]]) -> Inputs | None:
        """Encode ``columns``, each a list of one value; None if anything is out of the ordinary."""
        dense: list[float] = []
        for name, missing in self._dense:
            values = columns.get(name)
            if type(values) is not list or len(values) != 1:
                return None
            number = _plain_number(values[0], missing)
            if number is None:
                return None
            dense.append(number)
        ids: list[int] = []
        offsets: list[npt.NDArray[np.int64] | None] = []
        for name, integers, multi in self._categorical:
            values = columns.get(name)
            if type(values) is not list or len(values) != 1:
                return None
            bag = values[0] if multi else values
            found = _plain_ids(integers, bag)
            if found is None:
                return None
            ids += found
            if self._bags:
                offsets.append(np.array([0, len(found)]) if multi else None)
        return Inputs(self._transformed(dense), np.array(ids, np.int64), tuple(offsets) or None)

    def _transformed(self, values: list[float]) -> npt.NDArray[np.float32]:
        dense = np.array([values])
        if self._log1p:
            dense[:, self._log1p] = np.log1p(np.maximum(dense[:, self._log1p], 0.0))
        for i, low, high in self._clip:
            dense[:, i] = np.clip(dense[:, i], low, high)
        return dense.astype(np.float32)


def _plain_number(value: Any, missing: float | None) -> float | None:
    kind = type(value)
    if kind is float:
        return value if -FLOAT32_MAX <= value <= FLOAT32_MAX else None
    if value is None:
        return missing
    if kind is int and -(2**63) <= value < 2**63:
        return float(value)
    return None


def _plain_ids(integers: bool, bag: Any) -> list[int] | None:
    """Ids of a list of strings or a list of integers, nulls allowed."""
    if type(bag) is not list:
        return None
    if integers and len(bag) == 1 and type(bag[0]) is int:  # most often
        return bag if 0 <= bag[0] < MISSING_ID else None
    held = {type(value) for value in bag} - {type(None)}
    if integers:
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
