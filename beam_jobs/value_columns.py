"""Columns out of values that a parser has made, whatever mixture of types they are.

What an event means must not depend on which others were read together with it, so nothing is
inferred from neighbours: where values of a column differ in type all of them become text, which
the feature specification reads alike (5 and "5" are one category, 1.5 and "1.5" one number).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from stream_prune.features import FeatureSpec

Bad = dict[int, str]
"""Rows that cannot be used, with the reason."""


def value_columns(
    spec: FeatureSpec, values: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, pa.Array], Bad]:
    """The columns of a specification, and which rows hold a value that no column can.

    Args:
        spec: the columns and what they mean.
        values: by column, a value a row [B], None for a missing one.
    """
    bad: Bad = {}
    lists = {c.name for c in spec.categorical if c.multi}
    numbers = {*(c.name for c in spec.dense), spec.label, spec.served_score}
    columns = {}
    for name in spec.columns:
        if name in lists:
            columns[name] = _lists(name, values[name], bad)
        elif name in numbers:
            columns[name] = _numbers(name, values[name], bad)
        elif name == spec.event_time:
            columns[name] = _times(name, values[name], bad)
        else:
            columns[name] = _categories(name, values[name], bad)
    return columns, bad


def _numbers(name: str, values: Sequence[Any], bad: Bad) -> pa.Array:
    try:
        return pa.array(values, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
        return _texts(name, values, bad, (bool, int, float, Decimal, str), "a number", _number)


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _integers(values: Sequence[Any]) -> pa.Array | None:
    """All of them as int64; None where one has more bits, and they are judged one by one."""
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid):
        return None


def _categories(name: str, values: Sequence[Any], bad: Bad) -> pa.Array:
    # Arrow would take bytes for text and booleans for integers.
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {str}:
        return _utf8(name, values, bad)
    if kinds == {int} and (integers := _integers(values)) is not None:
        return integers
    allowed = "a category is text, an integer or a boolean"
    return _texts(name, values, bad, (bool, int, str), allowed, _category)


def _category(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _times(name: str, values: Sequence[Any], bad: Bad) -> pa.Array:
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {int} and (integers := _integers(values)) is not None:
        return integers
    if kinds <= {str}:
        return _utf8(name, values, bad)
    allowed = "an event time is ISO 8601 text or an integer (ms)"
    dates = (datetime.datetime, datetime.date)
    return _texts(name, values, bad, (int, str, *dates), allowed, _time)


def _time(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _lists(name: str, values: Sequence[Any], bad: Bad) -> pa.Array:
    rows: list[list[Any] | None] = []
    for row, value in enumerate(values):
        if value is None or isinstance(value, list | tuple):
            rows.append(None if value is None else list(value))
        else:
            bad.setdefault(row, f"column {name!r}: {_shown(value)}: must be a list of categories")
            rows.append(None)
    flat = [item for row in rows for item in row or ()]
    owners = [number for number, row in enumerate(rows) for _ in row or ()]
    wrong: Bad = {}
    items = _categories(name, flat, wrong)
    for item, reason in wrong.items():
        bad.setdefault(owners[item], reason)
    offsets = [0]
    for items_of_row in rows:
        offsets.append(offsets[-1] + len(items_of_row or ()))
    # A missing list is an empty one.
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)


def _texts(
    name: str, values: Sequence[Any], bad: Bad, kinds: tuple[type, ...], allowed: str, write: Any
) -> pa.Array:
    """Every value as text; one of another type than ``kinds`` makes its row bad."""
    texts: list[str | None] = []
    for row, value in enumerate(values):
        fits = value is None or (isinstance(value, kinds) and not (
            isinstance(value, bool) and bool not in kinds
        ))  # fmt: skip
        if not fits:
            bad.setdefault(row, f"column {name!r}: {_shown(value)}: {allowed}")
        texts.append(None if value is None or not fits else write(value))
    return _utf8(name, texts, bad)


def _utf8(name: str, values: Sequence[str | None], bad: Bad) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape
        fine: list[str | None] = []
        for row, value in enumerate(values):
            try:
                (value or "").encode()
            except UnicodeEncodeError:
                bad.setdefault(row, f"column {name!r}: {_shown(value)}: is no text")
                value = None
            fine.append(value)
        return pa.array(fine, pa.string())


def _shown(value: Any) -> str:
    return repr(value)[:80]
