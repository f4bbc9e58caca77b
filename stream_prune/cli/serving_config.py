"""The settings of ``stream-prune serve`` from a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.config import ServingConfig
from stream_prune.cli import config_errors, config_file
from stream_prune.errors import ConfigError


class ServingFile(BaseModel):
    """A file with the key ``serving``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    serving: ServingConfig = ServingConfig()


def load(path: Path | None, changes: Sequence[str] = ()) -> ServingConfig:
    """Read and check a file, with ``--set`` changes on top; without a file, the defaults.

    Raises:
        ConfigError: a line per fault, as ``a.yaml: serving.port = 0.5: must be a valid integer``.
    """
    place = "--set" if path is None else str(path)
    values = config_file.read(path, changes) if path else config_file.changed({}, changes)
    try:
        return ServingFile.model_validate(values).serving
    except ValidationError as error:
        found = config_errors.describe(error, ServingFile, values, place)
        raise ConfigError(found) from None
    except ConfigError as error:  # a room's own check
        raise ConfigError(f"{place}: serving.{error}") from None
