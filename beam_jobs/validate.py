"""Raw columns -> encoded columns by the feature specification, the same code as in serving."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from beam_jobs.columnar_coder import columnar
from beam_jobs.dead_letters import INVALID, Letter
from beam_jobs.decode import Decoded
from stream_prune.encoding import encode
from stream_prune.features import EVENT_TIME, FeatureSpec
from stream_prune.minibatch.batch import schema


@columnar
@dataclass(frozen=True)
class Validated:
    """The good rows of a chunk [B], encoded, in the columns of the mini-batch log.

    ``clocked``: their event times were held against the broker's clock.
    """

    decoded: Decoded
    rows: pa.RecordBatch
    clocked: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return int(self.rows.nbytes)


def validate(
    spec: FeatureSpec, decoded: Decoded, max_jump_ms: int | None = None
) -> tuple[Validated, list[Letter]]:
    """The good rows, encoded, and a letter for each of the others.

    Args:
        spec: the columns and what they mean.
        decoded: raw columns.
        max_jump_ms: how far an event time may lie after the time at which the broker took the
            record, if it says; None: any.

    Raises:
        ConfigError: the columns are not those of the specification.
    """
    encoded = encode(spec, decoded.rows)
    offsets = decoded.offsets[encoded.good]
    partition = np.full(len(offsets), decoded.partition, np.int32)
    columns = [*encoded.batch.columns, pa.array(partition), pa.array(offsets)]
    rows = pa.RecordBatch.from_arrays(columns, schema=schema(spec))
    letters = [
        decoded.letter(int(decoded.offsets[row]), INVALID, reason)
        for row, reason in encoded.reasons
    ]
    records = decoded.records
    if max_jump_ms is None or records is None or not records.broker_times:
        return Validated(decoded, rows), letters
    taken = records.timestamps[np.searchsorted(records.offsets, offsets)]
    ahead = rows.column(EVENT_TIME).to_numpy() - taken
    far = ahead > max_jump_ms
    for row in np.flatnonzero(far).tolist():
        reason = (
            f"column {spec.event_time!r}: the event time is {days(int(ahead[row]))} after the "
            f"broker took the event: windows.max_jump allows {days(max_jump_ms)}"
        )
        letters.append(decoded.letter(int(offsets[row]), INVALID, reason))
    if far.any():
        rows = rows.filter(pa.array(~far))
    return Validated(decoded, rows, clocked=True), letters


def days(ms: int) -> str:
    """A span of time for a message."""
    count = ms / 86_400_000
    return f"{count:,.0f} days" if count >= 10 else f"{count:.3g} days"


class ValidateChunk(beam.DoFn):  # type: ignore[misc]
    """Decoded -> Validated; Letters go to ``invalid``."""

    def __init__(self, spec: FeatureSpec, max_jump_ms: int | None) -> None:
        self._spec, self._max_jump_ms = spec, max_jump_ms

    def process(self, element: Decoded) -> Iterator[Any]:
        validated, letters = validate(self._spec, element, self._max_jump_ms)
        yield validated
        for letter in letters:
            yield beam.pvalue.TaggedOutput(INVALID, letter)


class Validate(beam.PTransform):  # type: ignore[misc]
    """Decoded -> ``validated`` and ``invalid``."""

    def __init__(self, spec: FeatureSpec, max_jump_ms: int | None = None) -> None:
        super().__init__()
        self._spec, self._max_jump_ms = spec, max_jump_ms

    def expand(self, decoded: Any) -> Any:
        return decoded | (
            beam.ParDo(ValidateChunk(self._spec, self._max_jump_ms))
            .with_input_types(Decoded)
            .with_output_types(Validated)
            .with_outputs(INVALID, main="validated")
        )
