"""The reference of a configuration file, made from the classes that read it."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from stream_prune.cli.config import TRAINING, Config
from stream_prune.cli.events_config import Duration
from stream_prune.training.config import TrainingConfig
from stream_prune.training.drift_config import DETECTORS
from stream_prune.training.elements_config import POLICIES as ELEMENT_POLICIES
from stream_prune.training.model_config import HEADS
from stream_prune.training.sparsity_config import POLICIES

_KINDS: Mapping[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    Duration: "duration, such as 15min, 6h, 1d",
    Any: "anything",
}
_SIZES = ("dense", "tables", "dim", "bottom", "top")  # a head's that do not come from parameters

_INTRODUCTION = """# Configuration

One YAML file says what a run does; `configs/` has one for everything one runs. Any value can be
changed on the command line: `--set sparsity.budget.macs=0.3`. An unknown key, a missing one or a
value out of range stops the command before anything is read, with file, key, value and what is
allowed. This page is made from the classes that read the file: `stream-prune config` prints it
for the version that is installed.

The files' features are described in [own logs](own-log.md#features).
"""


class Key(NamedTuple):
    """A key of a mapping: its name, the kind of its values, its default, what it means."""

    name: str
    kind: str
    default: str
    meaning: str


def reference() -> str:
    """The whole reference as Markdown."""
    parts = [_INTRODUCTION, _section("At the top", _top())]
    parts += [_section(f"`{name}`", keys) for name, keys in _mappings()]
    for title, own in (
        ("`sparsity.parameters` of the policy", POLICIES),
        ("`elements.parameters` of the policy", ELEMENT_POLICIES),
        ("`drift.parameters` of the detector", DETECTORS),
    ):
        parts += [_section(f"{title} `{name}`", _keys(kind)) for name, kind in own.items()]
    for name, (config, _) in HEADS.items():
        keys = [key for key in _keys(config) if key.name not in _SIZES]
        if keys:
            parts.append(_section(f"`model.parameters` of `{name}`", keys))
    return "\n".join(parts)


def _top() -> list[Key]:
    own = [key for key in _keys(Config) if key.name != "training"]
    return own + [key for key in _keys(TrainingConfig) if key.name in TRAINING]


def _mappings() -> Iterator[tuple[str, list[Key]]]:
    """The nested mappings by dotted name, depth first, in the order of the file."""

    def inside(kind: object, path: str) -> Iterator[tuple[str, list[Key]]]:
        for name, hint in _hints(kind).items():
            nested = _nested(hint)
            if nested is None:
                continue
            if kind is Config and name == "training":
                yield from inside(nested, "")
                continue
            where = f"{path}.{name}" if path else name
            yield where, _keys(nested)
            yield from inside(nested, where)

    yield from inside(Config, "")


def _section(title: str, keys: list[Key]) -> str:
    lines = [f"## {title}", ""]
    if not keys:
        return "\n".join([*lines, "Nothing to set.", ""])
    lines += ["| key | values | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{key.name}` | {key.kind} | {key.default} | {key.meaning} |".replace("  ", " ")
        for key in keys
    ]
    return "\n".join([*lines, ""])


def _keys(kind: Any) -> list[Key]:
    meanings = _meanings(kind)
    return [
        Key(name, _kind(hint), _default(kind, name, hint), meanings.get(name) or _first_line(hint))
        for name, hint in _hints(kind).items()
    ]


def _first_line(hint: Any) -> str:
    """What a nested mapping is, where the outer docstring leaves it to the inner one."""
    nested = _nested(hint)
    return "" if nested is None else inspect.cleandoc(nested.__doc__ or "").partition("\n")[0]


def _hints(kind: Any) -> dict[str, Any]:
    """The settings of a pydantic model, a dataclass or a plain class, with their types."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {name: hints[name] for name in kind.model_fields}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    hints = typing.get_type_hints(kind.__init__, include_extras=True)
    names = list(inspect.signature(kind).parameters)
    return {name: hints.get(name, Any) for name in names}


def _default(kind: Any, name: str, hint: Any) -> str:
    value: Any
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        value = kind.model_fields[name].get_default(call_default_factory=True)
        required = value is PydanticUndefined
    elif dataclasses.is_dataclass(kind):
        field = next(field for field in dataclasses.fields(kind) if field.name == name)
        made = field.default_factory
        value = field.default if made is dataclasses.MISSING else made()
        required = value is dataclasses.MISSING
    else:
        value = inspect.signature(kind).parameters[name].default
        required = value is inspect.Parameter.empty
    if required:
        return "must be given"
    if dataclasses.is_dataclass(value) or isinstance(value, BaseModel):
        return "its own"
    if value is None or value in ("", (), {}):
        return "none"
    if _is_duration(hint):
        return f"`{_duration(value)}`"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`"


def _kind(hint: Any) -> str:
    if hint in _KINDS:
        return _KINDS[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _KINDS[Duration] if _is_duration(hint) else _kind(arguments[0])
    if origin in (typing.Union, types.UnionType):
        found = dict.fromkeys(_kind(each) for each in arguments if each is not type(None))
        return " or ".join(found)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if _nested(hint) is not None or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return "mapping"
    if origin in (tuple, list):
        return "list"
    return getattr(hint, "__name__", str(hint)).lower()


def _is_duration(hint: Any) -> bool:
    markers = typing.get_args(Duration)[1:]
    return bool(markers) and all(marker in typing.get_args(hint) for marker in markers)


def _duration(ms: int) -> str:
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms and ms % length == 0:
            return f"{ms // length}{unit}"
    return f"{ms}ms"


def _nested(hint: Any) -> Any:
    """The class whose keys stand in this value, if there is one."""
    for each in (hint, *typing.get_args(hint)):
        if isinstance(each, type) and (
            dataclasses.is_dataclass(each) or issubclass(each, BaseModel)
        ):
            return each
    return None


def _meanings(kind: Any) -> dict[str, str]:
    """What the docstrings of a class, and of those it extends, say of its settings."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        text = inspect.cleandoc(each.__doc__ or "")
        block = re.search(r"^(?:Attributes|Args):\n((?: {4}.*\n?|\n)+)", text, re.MULTILINE)
        if block is None:
            continue
        for entry in re.split(r"\n(?= {4}\S)", block[1].rstrip()):
            names, _, meaning = entry.strip().partition(":")
            flat = " ".join(meaning.split()).replace("|", "\\|").replace("``", "`")
            flat = re.sub(r":\w+:`[~.]*([^`]+)`", r"`\1`", flat)
            found |= {name.strip(): flat for name in names.split(",")}
    return found
