"""Plain values (of YAML, JSON) into frozen dataclasses and back; errors name the key."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from stream_prune.errors import ConfigError
from stream_prune.minibatch.place import LogPlace, log_place

T = TypeVar("T")

_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def read(cls: type[T], values: object, path: str = "") -> T:
    """An instance of the dataclass ``cls`` from a mapping; nested dataclasses from nested mappings.

    A dataclass checks its own ranges and raises ConfigError or ValueError with a message that
    begins with the field's name; ``path`` is put before it.

    Raises:
        ConfigError: an unknown or missing key, a value of the wrong type or out of range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path or cls.__name__} = {values!r}: must be a mapping")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(
                f"{_join(path, str(key))}: unknown key; known are {', '.join(fields)}"
            )
    hints = typing.get_type_hints(cls)
    given = {
        name: _value(hints[name], values[name], _join(path, name))
        for name in fields
        if name in values
    }
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in given:
            raise ConfigError(f"{_join(path, name)}: is missing")
    try:
        return cls(**given)
    except (ConfigError, ValueError) as error:
        # A dataclass may name itself in its messages, as in "budget.macs = 2: ...".
        message = str(error).removeprefix(_snake(cls.__name__) + ".")
        raise ConfigError(_join(path, message)) from None


def plain(value: Any) -> Any:
    """The inverse of :func:`read`: dataclasses as mappings, tuples as lists, paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return {name: plain(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def difference(before: Any, after: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first key at which two plain values differ, as (dotted path, before, after)."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            found = difference(before.get(key), after.get(key), _join(path, str(key)))
            if found is not None:
                return found
        return None
    return None if before == after else (path, before, after)


def _value(hint: Any, value: object, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint == LogPlace:
        return log_place(value)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _value(hint, value, path)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(
                f"{path} = {value!r}: must be one of {', '.join(map(str, arguments))}"
            )
        return value
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type, hint), value, path)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path} = {value!r}: must be a list")
        return tuple(_value(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} = {value!r}: must be a mapping")
        return {key: _value(arguments[1], item, _join(path, key)) for key, item in value.items()}
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    if hint in _NAMES:
        if type(value) is not hint:
            raise ConfigError(f"{path} = {value!r}: must be {_NAMES[hint]}")
        return value
    if hint in (Any, object):
        return value
    raise TypeError(f"{path}: a field of type {hint} can't be read")


def _snake(name: str) -> str:
    """A class's name as its messages have it: DSLUnits is dsl_units, RigL is rigl."""
    return re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", name).lower()


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
