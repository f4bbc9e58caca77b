"""Tensors of the Open Inference Protocol v2 as raw columns, and what of them is refused.

Every input column of the model is one input tensor: shape [B] or [B, 1]; of a multi-valued column
[B, K], where null fills up rows with fewer than K ids. Elsewhere null means a missing value. JSON
has a word for null; the tensor's parameter ``null`` may name a value that stands for it, as it must
where values come as bytes (``"nan"``: NaN does).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from serving.errors import RequestError
from stream_prune.features import Categorical, Dense

Values: TypeAlias = list[Any] | npt.NDArray[Any]

_INTEGERS = {
    name: (kind, int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    for name, kind in (
        ("INT64", "<i8"),
        ("INT32", "<i4"),
        ("INT16", "<i2"),
        ("INT8", "i1"),
        ("UINT64", "<u8"),
        ("UINT32", "<u4"),
        ("UINT16", "<u2"),
        ("UINT8", "u1"),
    )
}
_FLOATS = {"FP32": "<f4", "FP64": "<f8", "FP16": "<f2"}
_DENSE_TYPES = (*_FLOATS, *_INTEGERS, "BOOL")
_ID_TYPES = ("BYTES", *_INTEGERS, "BOOL")
DATATYPES = (*_FLOATS, *_INTEGERS, "BYTES", "BOOL")
_HELD: dict[str, set[type]] = {
    **{name: {int, float} for name in _FLOATS},
    **{name: {int} for name in _INTEGERS},
    "BYTES": {str},
    "BOOL": {bool},
}
_LARGEST = float(np.finfo(np.float64).max)
_NULL = type(None)
_NAN = "nan"


class Tensor(msgspec.Struct, gc=False):
    """One input column: ``data`` in row-major order, flat or nested; none where it is binary."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


def single(tensor: Tensor, column: Dense | Categorical) -> list[Any] | None:
    """The column of a tensor that is one plain value; None: :func:`check` and the rest must judge.

    A short way for requests of one row, which spend most of their time on judging tensors. It
    refuses nothing, and gives what the long way gives.
    """
    data = tensor.data
    if data is None or len(data) != 1 or tensor.shape != [1] or tensor.parameters is not None:
        return None
    value, datatype = data[0], tensor.datatype
    kind = type(value)
    if kind is str:
        fits = datatype == "BYTES" and isinstance(column, Categorical) and not column.multi
    elif kind is float:
        fits = datatype in _FLOATS and isinstance(column, Dense) and -_LARGEST <= value <= _LARGEST
    elif kind is int and datatype in _INTEGERS and not _multi(column):
        _, low, high = _INTEGERS[datatype]
        fits = low <= value <= high
    else:
        fits = False
    return data if fits else None


def check(tensor: Tensor, column: Dense | Categorical, most_rows: int) -> int:
    """The number of rows of a tensor whose type and shape are those of its column.

    Raises:
        RequestError: they are not, or there are too many rows.
    """
    allowed = _DENSE_TYPES if isinstance(column, Dense) else _ID_TYPES
    if tensor.datatype not in allowed:
        raise RequestError(
            f"datatype {tensor.datatype!r:.40}: must be one of {', '.join(allowed)}", tensor.name
        )
    multi, shape = _multi(column), tensor.shape
    fits = len(shape) == 2 if multi else len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not fits or min(shape) < 0:
        wanted = "[rows, most ids a row]" if multi else "[rows] or [rows, 1]"
        raise RequestError(f"shape {shape!r:.60}: must be {wanted}", tensor.name)
    if shape[0] == 0:
        raise RequestError(f"shape {shape}: there are no rows to score", tensor.name)
    if shape[0] > most_rows:
        raise too_many_rows(shape[0], most_rows, tensor.name)
    return shape[0]


def too_many_rows(rows: int, most: int, field: str) -> RequestError:
    """The refusal of a request of more rows than the server takes."""
    return RequestError(
        f"holds {rows} rows: must be {most} or fewer a request; send several", field, status=413
    )


def from_json(tensor: Tensor, column: Dense | Categorical) -> Values:
    """A column of a checked tensor whose values stand in the JSON.

    Raises:
        RequestError: names the first value that is not of the tensor's datatype.
    """
    if tensor.data is None:
        raise RequestError("holds no data: give `data`, or binary data and its size", tensor.name)
    data = _flat(tensor)
    _check_count(len(data), tensor)
    held = set(map(type, data))
    nulls = _NULL in held
    held.discard(_NULL)
    if not held <= _HELD[tensor.datatype] or not _in_range(data, tensor.datatype, nulls):
        at = next(i for i, value in enumerate(data) if not _is_a(value, tensor.datatype))
        raise RequestError(f"data[{at}] = {data[at]!r:.80}: is no {tensor.datatype}", tensor.name)
    if len(held) == 2:  # JSON writes 3.0 as 3; Arrow is strict about mixing them
        data = [None if value is None else float(value) for value in data]
    null = _null(tensor)
    if null is not None:
        data = [None if value == null else value for value in data]
    return _bags(data, tensor.shape) if _multi(column) else data


def from_bytes(tensor: Tensor, column: Dense | Categorical, content: bytes | memoryview) -> Values:
    """A column of a checked tensor whose values come as bytes, little endian.

    Raises:
        RequestError: they are not as many as the shape says, or no values of the datatype.
    """
    null, multi = _null(tensor), _multi(column)
    if tensor.datatype == "BYTES":
        values: Values = _strings(tensor, content)
        _check_count(len(values), tensor)
    else:
        numbers = _numbers(tensor, content)
        _check_count(len(numbers), tensor)
        if tensor.datatype in _FLOATS:
            _check_finite(tensor, numbers, nan_is_null=null == _NAN)
        # One row has a short way of its own, for Python's values.
        plain = null is not None or multi or len(numbers) == 1
        values = numbers.tolist() if plain else numbers
    if null == _NAN and tensor.datatype in _FLOATS:
        values = [None if math.isnan(value) else value for value in values]
    elif null is not None:
        values = [None if value == null else value for value in values]
    return _bags(list(values), tensor.shape) if multi else values


def _check_finite(tensor: Tensor, numbers: npt.NDArray[Any], nan_is_null: bool) -> None:
    good = np.isfinite(numbers) | (np.isnan(numbers) & nan_is_null)
    if not good.all():
        at = int(np.argmin(good))
        way_out = f'; the parameter "null": "{_NAN}" lets NaN stand for a missing value'
        raise RequestError(
            f"data[{at}] = {numbers[at]}: must be finite{way_out * bool(np.isnan(numbers[at]))}",
            tensor.name,
        )


def _numbers(tensor: Tensor, content: bytes | memoryview) -> npt.NDArray[Any]:
    name = tensor.datatype
    kind = np.dtype("u1" if name == "BOOL" else _FLOATS.get(name) or _INTEGERS[name][0])
    if len(content) % kind.itemsize:
        raise RequestError(
            f"holds {len(content)} bytes: a value of {name} has {kind.itemsize}", tensor.name
        )
    data = np.frombuffer(content, kind)
    if name == "FP16":  # which Arrow can't calculate with
        return data.astype(np.float32)
    if name != "BOOL":
        return data
    if (data > 1).any():
        raise RequestError("holds bytes other than 0 and 1: they are no BOOL", tensor.name)
    return data.view(np.bool_)


def _strings(tensor: Tensor, content: bytes | memoryview) -> list[str]:
    """Each string comes after its length, four bytes."""
    found: list[str] = []
    at, end = 0, len(content)
    while at < end:
        begin = at + 4
        at = begin + int.from_bytes(content[at:begin], "little")
        if begin > end or at > end:
            raise RequestError(f"string {len(found)} goes past the tensor's end", tensor.name)
        try:
            found.append(str(content[begin:at], "utf-8"))
        except UnicodeDecodeError:
            raise RequestError(f"string {len(found)} is no UTF-8", tensor.name) from None
    return found


def _check_count(found: int, tensor: Tensor) -> None:
    wanted = math.prod(tensor.shape)
    if found != wanted:
        raise RequestError(f"holds {found} values, shape {tensor.shape} says {wanted}", tensor.name)


def _flat(tensor: Tensor) -> list[Any]:
    """The data in row-major order; nested data must be nested as the shape says."""
    data = tensor.data or []
    if list not in set(map(type, data)):
        return data
    if len(tensor.shape) != 2:
        raise RequestError(f"data is nested, shape {tensor.shape} is not", tensor.name)
    for at, row in enumerate(data):
        if not isinstance(row, list) or len(row) != tensor.shape[1]:
            raise RequestError(
                f"data[{at}]: must be a list of {tensor.shape[1]} values", tensor.name
            )
    return [value for row in data for value in row]


def _in_range(data: Sequence[Any], datatype: str, nulls: bool) -> bool:
    if datatype in ("BYTES", "BOOL"):
        return True
    values = [value for value in data if value is not None] if nulls else data
    if datatype in _FLOATS:
        return all(-_LARGEST <= value <= _LARGEST for value in values)
    _, low, high = _INTEGERS[datatype]
    return not values or (low <= min(values) and max(values) <= high)


def _is_a(value: Any, datatype: str) -> bool:
    if value is None:
        return True
    return type(value) in _HELD[datatype] and _in_range([value], datatype, False)


def _bags(data: list[Any], shape: Sequence[int]) -> list[list[Any]]:
    width = shape[1]
    rows = (data[row * width : (row + 1) * width] for row in range(shape[0]))
    return [[value for value in row if value is not None] for row in rows]


def _multi(column: Dense | Categorical) -> bool:
    return isinstance(column, Categorical) and column.multi


def _null(tensor: Tensor) -> Any:
    return None if tensor.parameters is None else tensor.parameters.get("null")
