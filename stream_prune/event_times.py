"""Event times in every form that a log holds them in, as milliseconds since 1970 (UTC)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_prune.errors import ConfigError

LATEST = 253_402_300_799_999
"""The last ms of the year 9999. Micro- and nanoseconds taken for milliseconds lie beyond it."""

_SECONDS_FROM, _SECONDS_UNTIL = 978_307_200, 4_102_444_800
"""2001 and 2100 in seconds since 1970."""

_MS = pa.timestamp("ms", tz="UTC")
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
_COMPACT_DAY = r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_ZONE = r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"


def event_times(column: str, values: pa.Array) -> npt.NDArray[np.int64]:
    """Milliseconds since 1970 (UTC) [B]; -1 for what is null, unreadable or out of [1970, 9999].

    Args:
        column: named in the error.
        values: timestamps or dates, integers (ms), or text: ISO 8601, or an integer (ms). What has
            no zone is UTC, a day alone is its first instant; fractions of a millisecond are cut
            off. Text that could be a day without its dashes (20130101) is refused: as milliseconds
            it would be some hour of 1970.

    Raises:
        ConfigError: the column has another type.
    """
    kind, unit = values.type, "ms"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values = _parse(values)
    elif pa.types.is_date(kind):
        values, unit = values.cast(pa.timestamp("s"), safe=False), "s"
    elif pa.types.is_timestamp(kind):
        unit = kind.unit
    elif not (pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise ConfigError(
            f"column {column!r} has the type {kind}: "
            "event times are timestamps, ISO 8601 text or integer milliseconds"
        )
    # As int64 what is too large for it is negative.
    numbers = values.cast(pa.int64(), safe=False).fill_null(-1).to_numpy()
    seconds = numbers // _PER_SECOND[unit]
    numbers = np.where((seconds < 0) | (seconds > LATEST // 1000), -1, numbers)
    if unit == "s":
        numbers = numbers * 1000
    else:
        numbers = numbers // (_PER_SECOND[unit] // 1000)
    return np.maximum(numbers, -1).astype(np.int64)


def in_seconds(values: pa.Array, times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which whole numbers [B] must be meant as seconds, not as the milliseconds they are read as.

    As seconds they lie between 2001 and 2100; as milliseconds in January and February of 1970, of
    which no click log is. Timestamps and ISO 8601 text are what they say.

    Args:
        values: what :func:`event_times` was given.
        times: what it made of them.
    """
    found = np.asarray((times >= _SECONDS_FROM) & (times < _SECONDS_UNTIL))
    if not found.any() or pa.types.is_integer(values.type):
        return found
    if pa.types.is_temporal(values.type):
        return np.zeros(len(times), np.bool_)
    text = pc.ascii_trim_whitespace(values.cast(pa.string()))
    numbers = pc.match_substring_regex(text, r"^\d+$").fill_null(False)
    return np.asarray(found & numbers.to_numpy(zero_copy_only=False))


def _parse(values: pa.Array) -> pa.Array:
    """Text to timestamps in ms (UTC), null where it is none."""
    text = pc.ascii_trim_whitespace(values.cast(pa.string()))
    number = pc.match_substring_regex(text, r"^\d{1,18}$")
    if not pc.any(number).as_py():
        return _parse_iso(text)
    number = pc.and_not(number, pc.match_substring_regex(text, f"^{_COMPACT_DAY}$"))
    milliseconds = pc.if_else(number, text, None).cast(pa.int64()).cast(_MS)
    return pc.coalesce(milliseconds, _parse_iso(pc.if_else(number, None, text)))


def _parse_iso(text: pa.Array) -> pa.Array:
    day = pc.match_substring_regex(text, f"^{_DAY}$")
    zoned = pc.match_substring_regex(text, f"^{_DAY}[T ]{_TIME}{_ZONE}$")
    local = pc.match_substring_regex(text, f"^{_DAY}[T ]{_TIME}$")
    text = pc.case_when(
        pc.make_struct(day, local, zoned),
        pc.binary_join_element_wise(text, "T00:00Z", ""),
        pc.binary_join_element_wise(text, "Z", ""),
        text,
    )
    text = pc.replace_substring_regex(text, r"(\.\d{3})\d+", r"\1")
    try:
        return text.cast(_MS)
    except pa.ArrowInvalid:  # every field is in its range, but not every month has a 31st
        return pc.if_else(_in_calendar(text), text, None).cast(_MS)


def _in_calendar(text: pa.Array) -> pa.Array:
    day = pc.utf8_slice_codeunits(text, 0, 10)
    rolled_over = pc.strptime(day, format="%Y-%m-%d", unit="s")
    return pc.equal(pc.day(rolled_over), pc.utf8_slice_codeunits(day, 8, 10).cast(pa.int64()))
