"""Candidate groups from Torch-Pruning's dependency graph, where experiments did not tell.

The only file that imports Torch-Pruning; none of its pruning functions is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from stream_prune.sparsity.example import differentiable
from stream_prune.sparsity.experiment import CONV, OPAQUE
from stream_prune.sparsity.groups import Group, Member, named_tensors
from stream_prune.sparsity.refusals import RefusedError, why_opaque


def graph_groups(
    model: nn.Module,
    forward: Callable[[], Any],
    wanted: list[str],
    tied: dict[str, str],
    refused: dict[str, str],
) -> dict[str, Group]:
    """A group for each layer in ``wanted``; why there is none goes to ``refused``."""
    found: dict[str, Group] = {}
    try:
        graph = tp.DependencyGraph().build_dependency(
            model,
            (),
            forward_fn=lambda _, __: forward(),
            output_transform=differentiable,
            verbose=False,
        )
    except Exception as error:  # noqa: BLE001 (whatever it is, these layers stay dense)
        reason = f"the model's graph could not be traced: {type(error).__name__}: {error}"
        refused.update(dict.fromkeys(wanted, reason))
        return found
    names = {module: name or "(model)" for name, module in model.named_modules()}
    limit = _Limit(graph)
    taken: set[nn.Module] = set()
    for name in wanted:
        module = model.get_submodule(name)
        if module in taken:
            continue
        if module not in graph.module2node:
            refused[names[module]] = "the example batch does not reach it"
            continue
        producers: list[nn.Module] = [module]
        try:
            pruner = graph.get_pruner_of_module(module)
            channels = range(pruner.get_out_channels(module))
            limit.start()
            coupled = graph.get_pruning_group(module, pruner.prune_out_channels, channels)
            producers = [p for p in _producers(coupled) if names[p] in wanted] or producers
            taken.update(producers)
            group = _group(model, name, coupled, names, tied)
            _refuse_streams(graph, producers, names)
        except RefusedError as refusal:
            refused.update({names[producer]: str(refusal) for producer in producers})
        except Exception as error:  # noqa: BLE001 (whatever it is, the layer stays dense)
            reason = f"its couplings could not be followed: {type(error).__name__}: {error}"
            refused.update({names[producer]: reason for producer in producers})
        else:
            found[name] = group
    for node in graph.module2node.values():
        node.grad_fn = None  # the graph is full of cycles; the traced pass must not live on in them
    return found


class _Limit:
    """Stops the graph's search for a group that goes round in circles (and fills the memory)."""

    def __init__(self, graph: Any) -> None:
        nodes = graph.module2node.values()
        self._most = 100 + sum(len(node.dependencies) for node in nodes)
        self._looked_at = 0
        for node in nodes:
            for coupling in node.dependencies:
                coupling.is_triggered_by = self._counted(coupling.is_triggered_by)

    def start(self) -> None:
        self._looked_at = 0

    def _counted(self, is_triggered_by: Callable[[Any], bool]) -> Callable[[Any], bool]:
        def counted(handler: Any) -> bool:
            self._looked_at += 1
            if self._looked_at > self._most:
                raise RefusedError(f"more than {self._most} couplings lead away from it")
            return is_triggered_by(handler)

        return counted


def _producers(coupled: Any) -> list[nn.Module]:
    return [
        item.dep.target.module
        for item in coupled
        if isinstance(item.dep.target.module, (nn.Linear, CONV))
        and item.dep.handler.__name__ == "prune_out_channels"
    ]


def _group(
    model: nn.Module, name: str, coupled: Any, names: dict[nn.Module, str], tied: dict[str, str]
) -> Group:
    params = {id(tensor): tensor_name for tensor_name, tensor in named_tensors(model)}
    units = len(coupled[0].idxs)
    produced: list[Member] = []
    consumed: list[Member] = []
    for item in coupled:
        module, node = item.dep.target.module, item.dep.target
        where = names.get(module, "")
        if isinstance(module, tp.ops._OutputOp):
            raise RefusedError("its units are outputs of the model")
        if isinstance(module, OPAQUE):
            raise RefusedError(why_opaque(where, module))
        if isinstance(module, nn.Embedding):
            raise RefusedError(f"its units are the dimensions of the embedding {where!r}")
        entering = item.dep.handler.__name__ == "prune_in_channels"
        for tensor, axis in _slots(module, node, entering):
            tensor_name = params.get(id(tensor))
            if tensor_name is None:
                raise RefusedError(f"a tensor of {where!r} is computed, not a plain parameter")
            if tensor_name in tied:
                raise RefusedError(f"{tensor_name!r} is tied to {tied[tensor_name]!r}")
            positions = _positions(item.idxs, item.root_idxs, units, tensor_name)
            if int(positions.max()) >= tensor.shape[axis]:
                raise RefusedError(f"its slice of {tensor_name!r} could not be located")
            (consumed if entering else produced).append(Member(tensor_name, axis, positions))
    if not consumed:
        raise RefusedError("no layer was found that reads its units")
    return Group(name, units, tuple(produced), tuple(consumed))


def _slots(module: Any, node: Any, entering: bool) -> Iterable[tuple[Tensor, int]]:
    """The tensors of a layer that hold the units, with the axis."""
    if isinstance(module, nn.Parameter):
        return [(module, node.pruning_dim % module.dim())]
    if isinstance(module, (nn.Linear, CONV)):
        depthwise = isinstance(module, CONV) and module.groups == module.out_channels > 1
        if isinstance(module, CONV) and module.groups > 1 and not depthwise:
            raise RefusedError("a grouped convolution ties its units together")
        if isinstance(module, CONV) and depthwise and module.in_channels != module.out_channels:
            raise RefusedError("a depthwise convolution multiplies its units")
        out_axis = 1 if isinstance(module, CONV) and module.transposed and not depthwise else 0
        if entering and not depthwise:
            return [(module.weight, 1 - out_axis)]
        bias = [] if module.bias is None else [(module.bias, 0)]
        return [(module.weight, out_axis), *bias]
    if isinstance(module, nn.modules.batchnorm._NormBase):
        held = (module.weight, module.bias, module.running_mean, module.running_var)
        return [(tensor, 0) for tensor in held if tensor is not None]
    if isinstance(module, nn.PReLU) and module.num_parameters > 1:
        return [(module.weight, 0)]
    return []


def _positions(idxs: list[int], roots: list[int | None], units: int, name: str) -> Tensor:
    """int64 [units, k] from parallel lists of indices and the units that they belong to."""
    by_unit: list[list[int]] = [[] for _ in range(units)]
    for index, root in zip(idxs, roots, strict=True):
        if root is None:
            raise RefusedError(f"its slice of {name!r} could not be located")
        by_unit[root].append(index)
    if len({len(found) for found in by_unit}) != 1 or not by_unit[0]:
        raise RefusedError(f"its units hold unequal slices of {name!r}")
    return torch.tensor([sorted(found) for found in by_unit], dtype=torch.int64)


def _refuse_streams(graph: Any, producers: list[nn.Module], names: dict[nn.Module, str]) -> None:
    """A residual stream: one of the layers that write the units reads, at length, another's."""
    nodes = {
        graph.module2node[module]: module
        for module in producers
        if not (isinstance(module, CONV) and module.groups > 1)  # depthwise: passes units on
    }
    for node, module in nodes.items():
        seen, stack = set(), list(node.inputs)
        while stack:
            above = stack.pop()
            if above in seen:
                continue
            seen.add(above)
            if above in nodes and above is not node:
                raise RefusedError(
                    f"a residual stream: {names[module]!r} adds to what it reads "
                    f"from {names[nodes[above]]!r}"
                )
            stack.extend(above.inputs)
