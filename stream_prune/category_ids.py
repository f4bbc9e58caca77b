"""Categories of every Arrow type as ids: the same category, the same id, however it was stored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_prune.errors import ConfigError
from stream_prune.features import INTEGER, MISSING_ID, hash_strings

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def category_ids(column: str, kind: str, values: pa.Array) -> tuple[Ids, Mask]:
    """The id of each category [B], and which of them can have none [B].

    Args:
        column: named in the error.
        kind: ``string`` or ``integer``, as :class:`~stream_prune.features.Categorical` says.
        values: text or bytes, integers, booleans, dictionaries of these, or nulls.

    Raises:
        ConfigError: the column has another type.
    """
    held = values.type
    if pa.types.is_dictionary(held) and not (kind != INTEGER and _is_text(held.value_type)):
        values = values.dictionary_decode()
        held = values.type
    if pa.types.is_null(held):
        return np.full(len(values), MISSING_ID), np.zeros(len(values), np.bool_)
    text = _is_text(held) or pa.types.is_dictionary(held)
    if not (text or pa.types.is_integer(held) or pa.types.is_boolean(held)):
        raise ConfigError(f"column {column!r} has the type {held}: ids are strings or integers")
    if kind == INTEGER:
        return _parsed(values) if text else _taken(values)
    return hash_strings(values if text else _written(values)), np.zeros(len(values), np.bool_)


def _written(numbers: pa.Array) -> pa.DictionaryArray:
    """Integers as their decimal text, booleans as true and false; each distinct one once."""
    encoded = numbers.dictionary_encode()
    words = encoded.dictionary.cast(pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, words)


def _taken(numbers: pa.Array) -> tuple[Ids, Mask]:
    """Integers as they are."""
    absent = numbers.is_null().to_numpy(False)
    numbers = numbers.cast(pa.int8()) if pa.types.is_boolean(numbers.type) else numbers
    # As int64 the ids that are too large for it are negative.
    ids = numbers.cast(pa.int64(), safe=False).fill_null(MISSING_ID).to_numpy()
    return ids, (ids < 0) | ((ids == MISSING_ID) & ~absent)


def _parsed(words: pa.Array) -> tuple[Ids, Mask]:
    """Text as the integer that it says; blank text is a missing category."""
    # Seen as text, not converted: bytes that are no UTF-8 match nothing.
    text = pc.ascii_trim_whitespace(words.cast(pa.binary()).view(pa.string()))
    whole = pc.match_substring_regex(text, r"^\d{1,19}$").fill_null(False)
    ids, bad = _taken(pc.if_else(whole, text, None).cast(pa.uint64()))
    blank = pc.or_(text.is_null(), pc.equal(text, "").fill_null(True))
    return ids, bad | ~pc.or_(whole, blank).to_numpy(False)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
    )
