"""Planned events -> the keys and values of messages, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.avro_schema import avro_schema
from beam_jobs.produce import avro, json_lines
from beam_jobs.produce.avro import Messages
from beam_jobs.produce.options import FORMATS
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec, hash_strings

ADDED_NAME = "written_by"
ADDED = {"name": ADDED_NAME, "type": ["null", "string"], "default": None}
"""The field that a schema change puts in front."""


class MessageWriter:
    """Encodes rows of raw columns.

    Args:
        spec: names the columns and says of what kind they are.
        form: one of :data:`~beam_jobs.produce.options.FORMATS`.
        schema_id: in front of ``confluent`` messages; after the schema change the next one.
    """

    def __init__(self, spec: FeatureSpec, form: str | None, schema_id: int) -> None:
        if form not in FORMATS:
            raise ConfigError(f"produce.format = {form!r}: must be one of {', '.join(FORMATS)}")
        self._spec, self._form, self._first_id = spec, form, schema_id
        self.schemas: dict[int, dict[str, Any]] = {}
        if form != "json":
            before = avro_schema(spec)
            after = {**before, "fields": [ADDED, *before["fields"]]}
            self.schemas = {schema_id: before, schema_id + 1: after}

    def write(
        self, rows: pa.RecordBatch, invalid: npt.NDArray[np.bool_], changed: bool
    ) -> Messages:
        """The values of messages [M]; ``invalid`` ones get a label of 2.

        Raises:
            RunError: a column holds what its type in the schema can't.
        """
        columns = {name: rows.column(name) for name in self._spec.columns}
        if invalid.any():
            label = self._cast(self._spec.label, columns[self._spec.label], pa.int64())
            columns[self._spec.label] = pc.if_else(pa.array(invalid), 2, label)
        if changed:
            columns[ADDED_NAME] = pa.repeat(pa.scalar("produce"), rows.num_rows)
        if self._form == "json":
            return json_lines.encode(pa.RecordBatch.from_pydict(columns))
        number = self._first_id + changed
        schema = self.schemas[number]
        typed = {
            field["name"]: self._cast(
                field["name"], columns[field["name"]], avro.arrow_type(field["type"])
            )
            for field in schema["fields"]
        }
        prefix = b"\0" + number.to_bytes(4, "big") if self._form == "confluent" else b""
        return avro.encode(schema, pa.RecordBatch.from_pydict(typed), prefix)

    def _cast(self, name: str, values: pa.Array, kind: pa.DataType) -> pa.Array:
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), None, values)
        try:
            return values.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise RunError(
                f"column {name!r}: holds what is no {kind}: {error}: play it as JSON "
                "(produce.format: json), which sends values as they are"
            ) from None


def keys_of(rows: pa.RecordBatch, column: str | None) -> pa.Array | None:
    """The text of the key column [B]; None without one.

    Raises:
        ConfigError: there is no such column among the features.
    """
    if column is None:
        return None
    if column not in rows.schema.names:
        known = ", ".join(rows.schema.names)
        raise ConfigError(f"produce.key = {column!r}: must be one of the columns {known}")
    return pc.fill_null(rows.column(column).cast(pa.string()), "")


def partitions_of(
    keys: pa.Array | None, first: int, rows: int, partitions: int
) -> npt.NDArray[np.int64]:
    """By the hash of the key [B]; without keys in turn, ``first`` being the number of row 0."""
    if keys is None:
        return np.arange(first, first + rows) % partitions
    return hash_strings(keys) % partitions


def cut_short(
    values: Sequence[bytes], where: npt.NDArray[np.int64], rng: np.random.Generator
) -> list[bytes]:
    """The values, those of the rows ``where`` without at least their last byte."""
    cut = list(values)
    for row, share in zip(where.tolist(), rng.random(len(where)).tolist(), strict=True):
        cut[row] = cut[row][: int(share * len(cut[row]))]
    return cut
