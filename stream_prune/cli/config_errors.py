"""What pydantic found wrong, in the form ``FILE: key.key = value: what is allowed``."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


def describe(
    error: ValidationError, model: type[BaseModel], values: Mapping[str, Any], place: str
) -> str:
    """One line an error in ``values``; ``place`` is the file's name."""
    lines: dict[str, None] = {}
    for found in error.errors(include_url=False):
        lines[f"{place}: {_line(found, model, values)}"] = None
    return "\n".join(lines)


def _line(found: Mapping[str, Any], model: type[BaseModel], values: Mapping[str, Any]) -> str:
    place, kind = dotted(found["loc"], values), str(found["type"])
    if kind in _UNKNOWN:
        return f"{place}: {_unknown(found['loc'], model)}"
    if kind in _MISSING:
        return f"{place}: is missing, and has no default"
    message = _message(found)
    if kind == "value_error" and isinstance(found["input"], Mapping):
        # A room's own check: it knows the field, and says so.
        return f"{place}: {message}" if place else message
    return f"{place} = {found['input']!r}: {message}"


def _message(found: Mapping[str, Any]) -> str:
    kind, context = str(found["type"]), found.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in ("literal_error", "union_tag_invalid"):
        return f"must be one of {context.get('expected') or context.get('expected_tags')}"
    for name, words in (
        ("gt", "greater than"),
        ("ge", "at least"),
        ("lt", "less than"),
        ("le", "at most"),
    ):
        if name in context:
            return f"must be {words} {context[name]}"
    text = str(found["msg"])
    for start in ("Input should be ", "Value should be "):
        text = text.replace(start, "must be ")
    return text[:1].lower() + text[1:]


def _unknown(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    known = _keys(_walk(model, loc[:-1]))
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if close:
        return f"unknown key; did you mean {close[0]!r}?"
    return f"unknown key; known are {', '.join(known)}" if known else "unknown key"


def dotted(loc: Sequence[str | int], values: Any) -> str:
    """The keys as the user wrote them: names of union members, which are no keys, are left out."""
    text = ""
    for depth, part in enumerate(loc):
        last = depth + 1 == len(loc)
        if isinstance(part, int):
            text += f"[{part}]"
            values = values[part] if isinstance(values, list) and part < len(values) else None
        elif last or (isinstance(values, Mapping) and part in values):
            text += f".{part}" if text else part
            values = values.get(part) if isinstance(values, Mapping) else None
    return text


def _walk(model: type[Any], loc: Sequence[str | int]) -> list[type[Any]]:
    """The classes that can stand at ``loc``; none where a plain mapping or a list stands."""
    owners = [model]
    for part in loc:
        if isinstance(part, int):
            continue
        inner = [t for owner in owners for t in _classes(_fields(owner).get(part))]
        if inner or part in _keys(owners):
            owners = inner
    return owners


def _keys(owners: Sequence[type[Any]]) -> list[str]:
    return list(dict.fromkeys(name for owner in owners for name in _fields(owner)))


def _fields(owner: type[Any]) -> dict[str, Any]:
    """Keys and their types; those of an inlined part stand where its owner's do."""
    if dataclasses.is_dataclass(owner):
        hints = get_type_hints(owner)
        return {f.name: hints[f.name] for f in dataclasses.fields(owner) if f.init}
    fields = {n: f.annotation for n, f in getattr(owner, "model_fields", {}).items()}
    for name in getattr(owner, "INLINED", ()):
        fields |= _fields(fields.pop(name))
    return fields


def _classes(annotation: Any) -> list[type[Any]]:
    if isinstance(annotation, type) and _fields(annotation):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _classes(inner)]


_HEAD = re.compile(r"^(?P<name>[\w.\[\]]+)(?: = (?P<value>[^:]*))?(?=: )")


def locate(message: str, values: Mapping[str, Any]) -> str | None:
    """A room's message with the whole path of the key that it names by its end; None: no key here.

    A room knows its own field and no more; what the user wrote tells where that stands.

    >>> locate("macs = 2: must be in (0, 1]", {"sparsity": {"budget": {"macs": 2}}})
    'sparsity.budget.macs = 2: must be in (0, 1]'
    """
    head = _HEAD.match(message)
    if head is None:
        return None
    leaves = list(_leaves(values))
    name = head["name"]
    while name:
        ends = [leaf for leaf in leaves if leaf[0] == name or leaf[0].endswith(f".{name}")]
        if ends:
            same = (path for path, value in ends if head["value"] in (str(value), repr(value)))
            return next(same, ends[0][0]) + message[len(head["name"]) :]
        name = name.partition(".")[2]  # the room's name for itself is not what the user calls it
    return None


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every path in nested mappings and lists, with what stands there."""
    if path:
        yield path, values
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, list):
        for i, value in enumerate(values):
            yield from _leaves(value, f"{path}[{i}]")
