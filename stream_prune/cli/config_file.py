"""From a YAML file to nested mappings: ``extends``, and values set on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_prune.errors import ConfigError

EXTENDS = "extends"


def read(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in ``path``, over the file that its key ``extends`` names (relative to it).

    Mappings are merged key by key, anything else replaces what was there; ``changes`` of the form
    ``key.key=value`` come last, the value in YAML.

    Raises:
        ConfigError: a file is missing, no YAML, or no mapping; files extend each other in a circle;
            a change has no ``=`` or a key that can't be set.
    """
    return changed(_extended(path, ()), changes)


def changed(values: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """``values`` with changes of the form ``key.key=value`` on top.

    Raises:
        ConfigError: a change has no ``=``, or a key that can't be set.
    """
    for change in changes:
        values = merge(values, _change(change))
    return dict(values)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``; mappings are merged, all else is replaced.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    merged = dict(base)
    for key, value in over.items():
        there = merged.get(key)
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(there, value)
        else:
            merged[key] = value
    return merged


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: {EXTENDS}: the files extend each other in a circle")
    values = parse(path)
    base = values.pop(EXTENDS, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{path}: {EXTENDS} = {base!r}: must be the name of a file")
    return merge(_extended(path.parent / base, (*seen, path.resolve())), values)


def parse(path: Path) -> dict[str, Any]:
    """The mapping in one YAML file.

    Raises:
        ConfigError: it is missing, can't be read, or holds no mapping.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no UTF-8 text: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise ConfigError(f"{path}{where}: is no YAML: {problem}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to values")
    return values


def _change(change: str) -> dict[str, Any]:
    import yaml

    keys, equals, text = change.partition("=")
    names = keys.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(
            f"--set {change!r}: write key=value, as in --set sparsity.budget.macs=0.3"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {change!r}: the value is no YAML") from None
    for name in reversed(names):
        value = {name: value}
    return dict(value)
