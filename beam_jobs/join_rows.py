"""Impressions and clicks on their way to the window buffer, as rows of one kind.

An impression has no label yet. A click is laid into the columns of the mini-batch log too: its
event time, its key, where it comes from, and nothing else; the join tells both kinds apart by their
partitions, and only impressions leave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from beam_jobs.dead_letters import INVALID, UNDECODABLE
from beam_jobs.decode import Decode, Decoded, Formats
from beam_jobs.join_options import JoinOptions
from beam_jobs.log_source import UNREADABLE, Chunk
from beam_jobs.validate import Validate, Validated
from stream_prune.features import (
    EVENT_KEY,
    EVENT_TIME,
    LABEL,
    OFFSET,
    PARTITION,
    SERVED_SCORE,
    Categorical,
    FeatureSpec,
)
from stream_prune.minibatch.batch import schema

_CATEGORY, _LABEL = "no category", "no label"


def click_spec(options: JoinOptions) -> FeatureSpec:
    """The columns of clicks; two that they do not have are filled by :func:`with_columns`."""
    return FeatureSpec((), (Categorical(_CATEGORY),), _LABEL, options.time, options.key)


def with_columns(spec: FeatureSpec, rows: pa.RecordBatch, *, click: bool) -> pa.RecordBatch:
    """Raw rows without what they may say of their label, which is for the join to say."""
    names = [spec.label, *(c.name for c in spec.categorical)] if click else [spec.label]
    rows = rows.drop_columns([name for name in names if name in rows.schema.names])
    for name in names:
        rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.string()))
    return rows


def as_log_rows(validated: Validated, spec: FeatureSpec) -> Validated:
    """Clicks [B] in the columns of the mini-batch log of ``spec``."""
    clicks = validated.rows
    count = clicks.num_rows
    columns: dict[str, pa.Array] = {
        column.name: pa.array(np.zeros(count, np.float32)) for column in spec.dense
    }
    for column in spec.categorical:
        if column.multi:
            offsets = pa.array(np.zeros(count + 1, np.int32))
            columns[column.name] = pa.ListArray.from_arrays(offsets, pa.array([], pa.int64()))
        else:
            columns[column.name] = pa.array(np.zeros(count, np.int64))
    columns |= {name: clicks.column(name) for name in (EVENT_TIME, EVENT_KEY, PARTITION, OFFSET)}
    columns[LABEL] = columns[SERVED_SCORE] = pa.nulls(count, pa.float32())
    form = schema(spec)
    rows = pa.RecordBatch.from_arrays([columns[name] for name in form.names], schema=form)
    raw = validated.decoded.rows.drop_columns([_LABEL, _CATEGORY])
    return replace(validated, rows=rows, decoded=replace(validated.decoded, rows=raw))


class FillColumns(beam.DoFn):  # type: ignore[misc]
    """Decoded -> Decoded, by :func:`with_columns`."""

    def __init__(self, spec: FeatureSpec, click: bool) -> None:
        self._spec, self._click = spec, click

    def process(self, element: Decoded) -> Iterator[Decoded]:
        yield replace(element, rows=with_columns(self._spec, element.rows, click=self._click))


class LayOutClicks(beam.DoFn):  # type: ignore[misc]
    """Validated -> Validated, by :func:`as_log_rows`."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec

    def process(self, element: Validated) -> Iterator[Validated]:
        yield as_log_rows(element, self._spec)


def _kind(chunk: Chunk, _: int, clicks_from: int) -> int:
    return int(chunk.partition >= clicks_from)


class ToJoinable(beam.PTransform):  # type: ignore[misc]
    """Chunks -> validated rows of both kinds, letters, and messages about what stops the job.

    Args:
        spec: of the impressions.
        options: of the join.
        forms: how chunks are decoded.
        clicks_from: the first partition of clicks; those of impressions come before it.
        max_jump_ms: as :func:`beam_jobs.validate.validate` takes it.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        options: JoinOptions,
        forms: Formats,
        clicks_from: int,
        max_jump_ms: int | None = None,
    ) -> None:
        super().__init__()
        self._max_jump_ms = max_jump_ms
        self._spec, self._options, self._forms = spec, options, forms
        self._clicks_from = clicks_from

    def expand(self, chunks: Any) -> dict[str, Any]:
        split = chunks | beam.Partition(partial(_kind, clicks_from=self._clicks_from), 2)
        found = [self._read(split[0], click=False), self._read(split[1], click=True)]
        return {
            name: [parts[name] for parts in found] | f"both {name}" >> beam.Flatten()
            for name in found[0]
        }

    def _read(self, chunks: Any, *, click: bool) -> dict[str, Any]:
        spec = click_spec(self._options) if click else self._spec
        name = "clicks" if click else "impressions"
        decoded = chunks | f"decode {name}" >> Decode(spec, self._forms)
        rows = decoded.decoded | f"columns of {name}" >> beam.ParDo(
            FillColumns(spec, click)
        ).with_input_types(Decoded).with_output_types(Decoded)
        valid = rows | f"validate {name}" >> Validate(spec, self._max_jump_ms)
        validated = valid.validated
        if click:
            validated = validated | "clicks as rows" >> beam.ParDo(
                LayOutClicks(self._spec)
            ).with_input_types(Validated).with_output_types(Validated)
        return {
            "validated": validated,
            UNDECODABLE: decoded[UNDECODABLE],
            INVALID: valid[INVALID],
            UNREADABLE: decoded[UNREADABLE],
        }
