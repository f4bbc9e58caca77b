"""The head as an ONNX graph whose weights are references into ``head.safetensors``.

A safetensors file is a header and then plain tensor bytes, which is what ONNX calls external data:
so the weights are stored once, and either file serves its own readers. Matrices that are mostly
zero are packed (:mod:`stream_prune.artifact.packed`), which ONNX has no words for: the graph's
references to them name no file that exists, so that a runtime which was not given them stops.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stream_prune.artifact.format import GRAPH, HEAD
from stream_prune.artifact.pack import card_of, pack_matrices
from stream_prune.artifact.packed import PackedCard, part_name
from stream_prune.tensor_files import system_errors

_Key: TypeAlias = tuple[str, tuple[int, ...], bytes]
"""Type, shape and bytes of a tensor."""

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


def export_head(
    head: nn.Module,
    dense: Tensor,
    emb: Tensor,
    folder: Path,
    beside: Mapping[str, Tensor] | None = None,
) -> tuple[PackedCard, ...]:
    """Write ``head.safetensors`` and ``head.onnx`` (inputs ``dense``, ``emb``; output ``logit``).

    Args:
        head: in eval mode; maps dense [B, N] and emb [B, F, D] to logits [B].
        dense, emb: an example of two rows or more; the batch size is dynamic in the graph.
        beside: further tensors for ``head.safetensors``, which the graph does not know.

    Returns:
        What was packed.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    packed = pack_matrices(state)
    stored = {name: value for name, value in state.items() if name not in packed}
    for name, parts in packed.items():
        stored |= {part_name(name, part): value for part, value in parts.items()}
    stored |= {name: value.cpu().contiguous() for name, value in (beside or {}).items()}
    with system_errors():
        save_file(stored, folder / HEAD)
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
    model = program.model_proto
    filled = _refer(model, _places(folder / HEAD), {name: state[name] for name in packed})
    (folder / GRAPH).write_bytes(_without_notes(model))
    return tuple(card_of(name, state[name], packed[name], filled[name]) for name in packed)


def _refer(
    model: Any, places: Mapping[_Key, tuple[int, int]], packed: Mapping[str, Tensor]
) -> dict[str, list[str]]:
    """Replace what is stored elsewhere by references; per packed tensor its initializers."""
    from onnx import TensorProto

    names = {_key("F32", t.shape, t.numpy().tobytes()): name for name, t in packed.items()}
    filled: dict[str, list[str]] = {name: [] for name in packed}
    types = {TensorProto.FLOAT: "F32", TensorProto.DOUBLE: "F64", TensorProto.INT64: "I64"}
    for tensor in model.graph.initializer:
        key = _key(types.get(tensor.data_type, ""), tensor.dims, tensor.raw_data)
        if key in names:
            filled[names[key]].append(tensor.name)
            reference = [("location", f"{HEAD}|{names[key]}")]
        elif key in places and places[key][1] >= 256:
            # Tiny tensors cost less than a reference, and shapes must be readable in the graph.
            begin, size = places[key]
            reference = [("location", HEAD), ("offset", str(begin)), ("length", str(size))]
        else:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for entry, value in reference:
            tensor.external_data.add(key=entry, value=value)
    return filled


def _without_notes(model: Any) -> bytes:
    """Serialise a ModelProto without the exporter's notes, which hold paths."""
    for noted in (model, model.graph, *model.graph.node, *model.graph.initializer):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        value.ClearField("metadata_props")
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _key(kind: str, shape: Iterable[int], content: bytes) -> _Key:
    return kind, tuple(shape), content


def _places(path: Path) -> dict[_Key, tuple[int, int]]:
    """Begin and size in a safetensors file of each tensor: by its type, shape and bytes."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    places = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            key = _key(entry["dtype"], entry["shape"], data[begin:end])
            places[key] = (begin, end - begin)
    return places


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
