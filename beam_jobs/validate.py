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
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import schema


@columnar
@dataclass(frozen=True)
class Validated:
    """The good rows of a chunk [B], encoded, in the columns of the mini-batch log."""

    decoded: Decoded
    rows: pa.RecordBatch

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return int(self.rows.nbytes)


def validate(spec: FeatureSpec, decoded: Decoded) -> tuple[Validated, list[Letter]]:
    """The good rows, encoded, and a letter for each of the others.

    Raises:
        ConfigError: the columns are not those of the specification.
    """
    encoded = encode(spec, decoded.rows)
    offsets = decoded.offsets[encoded.good]
    partition = np.full(len(offsets), decoded.partition, np.int32)
    columns = [*encoded.batch.columns, pa.array(partition), pa.array(offsets)]
    rows = pa.RecordBatch.from_arrays(columns, schema=schema(spec))
    letters = [
        Letter(
            decoded.partition,
            offset := int(decoded.offsets[row]),
            INVALID,
            reason,
            decoded.record(offset),
        )
        for row, reason in encoded.reasons
    ]
    return Validated(decoded, rows), letters


class ValidateChunk(beam.DoFn):  # type: ignore[misc]
    """Decoded -> Validated; Letters go to ``invalid``."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec

    def process(self, element: Decoded) -> Iterator[Any]:
        validated, letters = validate(self._spec, element)
        yield validated
        for letter in letters:
            yield beam.pvalue.TaggedOutput(INVALID, letter)


class Validate(beam.PTransform):  # type: ignore[misc]
    """Decoded -> ``validated`` and ``invalid``."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self._spec = spec

    def expand(self, decoded: Any) -> Any:
        return decoded | (
            beam.ParDo(ValidateChunk(self._spec))
            .with_input_types(Decoded)
            .with_output_types(Validated)
            .with_outputs(INVALID, main="validated")
        )
