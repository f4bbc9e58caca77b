"""Checks of ranges: what is wrong is told with its name, its value and what is allowed."""

from __future__ import annotations

from stream_prune.errors import ConfigError


def at_least(least: float, **values: float) -> None:
    """Raises ConfigError for a value below ``least``."""
    for name, value in values.items():
        if not value >= least:
            raise ConfigError(f"{name} = {value}: must be {least} or more")


def positive(**values: float | None) -> None:
    """Raises ConfigError for a value that is not positive; None stands for one left out."""
    for name, value in values.items():
        if value is not None and not value > 0:
            raise ConfigError(f"{name} = {value}: must be greater than 0")


def one_of(allowed: tuple[str, ...], **values: str) -> None:
    """Raises ConfigError for a value that is none of ``allowed``."""
    for name, value in values.items():
        if value not in allowed:
            raise ConfigError(f"{name} = {value!r}: must be one of {', '.join(allowed)}")
