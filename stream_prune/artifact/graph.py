"""The head's graph as it is run: one change to what was exported, that makes it faster.

A head that picks columns out of a product and feeds them to a linear layer (DLRM picks a triangle
out of all pairs) spends most of its time on picking, which ONNX Runtime does number by number. The
layer can as well read all columns, with zeros for those that were not picked: the same sums.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

_WIDEST = 3.0
"""Columns there are over columns picked, up to which reading all of them is cheaper."""


def read_graph(path: Path) -> bytes:
    """The graph of an artifact, its weights still references to files beside it.

    Raises:
        Exception: it is no ONNX graph (ONNX has no base class for its errors).
    """
    model = onnx.load(path, load_external_data=False)
    for node in list(model.graph.node):
        if node.op_type == "Gather":
            _fold(model.graph, node, path.parent)
    serialised: bytes = model.SerializeToString()
    return serialised


def _fold(graph: Any, gather: Any, folder: Path) -> None:
    """Let the layer behind ``gather`` and a concatenation read what ``gather`` reads."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    concat = _only_reader(graph, gather.output[0])
    if _axis(gather) != 1 or gather.input[1] not in weights or concat is None:
        return
    layer = _only_reader(graph, concat.output[0])
    if concat.op_type != "Concat" or _axis(concat) != 1 or layer is None:
        return
    if layer.op_type != "Gemm" or layer.input[0] != concat.output[0]:
        return
    tensor = weights.get(layer.input[1])
    values = None if tensor is None else _values(tensor, folder)
    picked = numpy_helper.to_array(weights[gather.input[1]])
    width = _width(graph, gather.input[0])
    if (
        values is None
        or width is None
        or picked.ndim != 1
        or len(np.unique(picked)) != len(picked)
        or len(picked) * _WIDEST < width
        or not _transposed(layer)
        or list(concat.input)[-1] != gather.output[0]
        or _used(graph, layer.input[1]) != 1
    ):
        return
    before = values.shape[1] - len(picked)
    spread = np.zeros((len(values), before + width), np.float32)
    spread[:, :before] = values[:, :before]
    spread[:, before + picked] = values[:, before:]
    name = f"{layer.input[1]}|spread"
    graph.initializer.append(numpy_helper.from_array(spread, name))
    layer.input[1] = name
    concat.input[-1] = gather.input[0]
    graph.node.remove(gather)


def _values(tensor: Any, folder: Path) -> npt.NDArray[np.float32] | None:
    """A matrix of float32 that stands in the graph or in a file; None for any other."""
    if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) != 2:
        return None
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return np.asarray(numpy_helper.to_array(tensor), np.float32)
    place = {entry.key: entry.value for entry in tensor.external_data}
    if "offset" not in place:  # packed: the loader has it, no file does
        return None
    path, count = folder / place["location"], int(np.prod(tensor.dims))
    values = np.fromfile(path, "<f4", count, offset=int(place["offset"]))
    return values.reshape(tuple(tensor.dims))


def _width(graph: Any, name: str) -> int | None:
    """Columns of a product that was flattened by a Reshape to [rows, columns]."""
    for node in graph.node:
        if name in node.output and node.op_type == "Reshape":
            shapes = {tensor.name: tensor for tensor in graph.initializer}
            if node.input[1] in shapes:
                shape = numpy_helper.to_array(shapes[node.input[1]])
                return int(shape[1]) if len(shape) == 2 and shape[1] > 0 else None
    return None


def _only_reader(graph: Any, name: str) -> Any:
    readers = [node for node in graph.node if name in node.input]
    return readers[0] if len(readers) == 1 else None


def _used(graph: Any, name: str) -> int:
    return sum(list(node.input).count(name) for node in graph.node)


def _axis(node: Any) -> int | None:
    return next((int(a.i) for a in node.attribute if a.name == "axis"), None)


def _transposed(layer: Any) -> bool:
    flags = {a.name: a.i for a in layer.attribute}
    return bool(flags.get("transB", 0) == 1 and flags.get("transA", 0) == 0)
