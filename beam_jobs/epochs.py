"""Micro-epochs: one bounded Beam pipeline after another, in this process.

A pipeline is built once and run again and again by Beam's in-process runner, each time over the
next ranges of rows: a run costs 13 ms then, 53 ms when built anew, 82 to 109 ms with Beam's other
direct runners. Ranges go in and results come out through module globals, because what goes through
``beam.Create`` is pickled into the pipeline. Prism, which newer Beam releases prefer, is not used:
it was seen to lose rows.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

_planned: dict[str, Sequence[Any]] = {}
_harvested: dict[str, dict[str, list[Any]]] = {}


class _Planned(beam.DoFn):  # type: ignore[misc]
    """Any element -> what this epoch is to read."""

    def __init__(self, key: str) -> None:
        self._key = key

    def process(self, _: bytes) -> Iterator[Any]:
        yield from _planned[self._key]


class _Harvest(beam.DoFn):  # type: ignore[misc]
    """Puts elements where the driver finds them."""

    def __init__(self, key: str, name: str) -> None:
        self._key, self._name = key, name

    def process(self, element: Any) -> None:
        _harvested[self._key].setdefault(self._name, []).append(element)


class MicroEpochs:
    """Runs ``work``, a transform from ranges (or polls) to named collections, epoch by epoch."""

    def __init__(self, work: beam.PTransform) -> None:
        self._key = uuid.uuid4().hex
        self._runner = FnApiRunner()
        self._options = PipelineOptions([])
        pipeline = beam.Pipeline(runner=self._runner, options=self._options)
        ranges = pipeline | beam.Impulse() | "ranges" >> beam.ParDo(_Planned(self._key))
        outputs: Mapping[str, Any] = ranges | "work" >> work
        for name, collection in outputs.items():
            collection | f"harvest {name}" >> beam.ParDo(_Harvest(self._key, name))
        self._pipeline = pipeline.to_runner_api(
            default_environment=EmbeddedPythonEnvironment.default()
        )
        # Made by Beam for transforms of other languages; a pipeline that is run here removes it.
        shutil.rmtree(pipeline.local_tempdir)

    def run(self, ranges: Sequence[Any]) -> dict[str, list[Any]]:
        """Run one epoch; returns the elements of each named collection, in no particular order."""
        _planned[self._key] = ranges
        _harvested[self._key] = {}
        try:
            result = self._runner.run_via_runner_api(self._pipeline, self._options)
            result.wait_until_finish()
            return _harvested[self._key]
        finally:
            del _planned[self._key], _harvested[self._key]
