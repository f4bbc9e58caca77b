"""One YAML file for a job: where events come from, how they are windowed, trained and published.

The rooms define their own settings as frozen dataclasses that check their own ranges; this file
puts them side by side, and pydantic checks keys and types. Paths are relative to where one works.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from pydantic import model_validator

from stream_prune.artifact.config import ArtifactConfig
from stream_prune.cli import config_errors, config_file
from stream_prune.cli.events_config import EventsConfig, read_as
from stream_prune.errors import ConfigError
from stream_prune.minibatch.place import log_place
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.publishing import Publishing
from stream_prune.training.config import TrainingConfig
from stream_prune.training.sparsity_config import POLICIES

TRAINING = tuple(field.name for field in dataclasses.fields(TrainingConfig))
"""Keys that stand at the top of the file and belong to the training run."""


class Config(EventsConfig):
    """A whole configuration file; the keys of ``training`` stand at its top.

    The parts that say where events come from are in :mod:`stream_prune.cli.events_config`.
    """

    INLINED: ClassVar[tuple[str, ...]] = ("training",)

    artifact: ArtifactConfig = ArtifactConfig()
    registry: RegistryConfig | None = None
    publish: Publishing = Publishing()
    training: TrainingConfig

    @model_validator(mode="before")
    @classmethod
    def _gather_training(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "training" in values:
            return values
        mine = {key: value for key, value in values.items() if key not in TRAINING}
        training = {key: values[key] for key in TRAINING if key in values}
        if "log" in training:
            training["log"] = log_place(training["log"])
        return mine | {"training": training}


def load(path: Path, changes: Sequence[str] = ()) -> Config:
    """Read and check a configuration file, with ``--set`` changes on top.

    Raises:
        ConfigError: a line per fault, as ``a.yaml: optimizer.lr = 0.0: must be greater than 0``.
    """
    return read_as(Config, path, changes)


@contextmanager
def named(path: Path, changes: Sequence[str] = ()) -> Iterator[None]:
    """Name file and key in errors that show only when the parts are put together."""
    try:
        yield
    except ConfigError as error:
        text = config_errors.locate(str(error), config_file.read(path, changes))
        if text is None:
            policy, dot, rest = str(error).partition(".")
            if not dot or policy not in POLICIES:
                raise
            text = f"sparsity.parameters.{rest}"  # a default that the file does not name
        raise ConfigError(f"{path}: {text}") from None
