"""The head as an ONNX graph whose weights are references into ``head.safetensors``.

A safetensors file is a header and then plain tensor bytes, which is what ONNX calls external data:
so the weights are stored once, and either file serves its own readers.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stream_prune.artifact.format import GRAPH, HEAD
from stream_prune.tensor_files import system_errors

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def snapshot(head: nn.Module) -> nn.Module:
    """A copy of ``head`` on the CPU, in eval mode, without hooks; ``head`` is left as it is."""
    no_hooks: dict[int, Any] = {
        id(getattr(module, name)): OrderedDict() for module in head.modules() for name in _HOOKS
    }
    return copy.deepcopy(head, no_hooks).cpu().eval()


def export_head(head: nn.Module, dense: Tensor, emb: Tensor, folder: Path) -> None:
    """Write ``head.safetensors`` and ``head.onnx`` (inputs ``dense``, ``emb``; output ``logit``).

    Args:
        head: in eval mode; maps dense [B, N] and emb [B, F, D] to logits [B].
        dense, emb: an example of two rows or more; the batch size is dynamic in the graph.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    with system_errors():
        save_file(state, folder / HEAD)
    batch = torch.export.Dim("batch")
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            head,
            (dense, emb),
            dynamo=True,
            input_names=["dense", "emb"],
            output_names=["logit"],
            dynamic_shapes=({0: batch}, {0: batch}),
            verbose=False,
        )
    assert program is not None
    (folder / GRAPH).write_bytes(_with_references(program.model_proto, folder / HEAD))


def _with_references(model: Any, weights: Path) -> bytes:
    """Serialise a ModelProto: what ``weights`` holds becomes a reference; no notes, no paths."""
    from onnx import TensorProto

    types = {"F32": TensorProto.FLOAT, "F64": TensorProto.DOUBLE, "I64": TensorProto.INT64}
    places = {}
    for begin, size, kind, shape, content in _tensors(weights):
        if kind in types:
            places[types[kind], tuple(shape), content] = (begin, size)
    for tensor in model.graph.initializer:
        place = places.get((tensor.data_type, tuple(tensor.dims), tensor.raw_data))
        # Tiny tensors cost less than a reference, and shapes must be readable in the graph.
        if place is None or place[1] < 256:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", HEAD), ("offset", place[0]), ("length", place[1])):
            tensor.external_data.add(key=key, value=str(value))
    for noted in (model, model.graph, *model.graph.node, *model.graph.initializer):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        value.ClearField("metadata_props")
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _tensors(path: Path) -> Iterator[tuple[int, int, str, list[int], bytes]]:
    """Place in the file, size, type, shape and bytes of each tensor of a safetensors file."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            yield (
                start + begin,
                end - begin,
                entry["dtype"],
                entry["shape"],
                data[start + begin : start + end],
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on torchvision and on its own deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*axis name.*will not be used.*")
            yield
    finally:
        logger.setLevel(level)
