"""Finds candidate groups: by experiment, or else with Torch-Pruning's dependency graph.

The only file that imports Torch-Pruning; none of its pruning functions is used. What either says is
a guess that :mod:`prove` checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from stream_prune.sparsity.example import differentiable
from stream_prune.sparsity.groups import Group, Member, named_tensors
from stream_prune.sparsity.probe import Probe, UnclearError, UnitsAreOutputsError

_HEAD_COUNTS = ("num_heads", "n_heads", "heads", "n_head", "nhead", "num_attention_heads")
_MIXES = (nn.LayerNorm, nn.GroupNorm, nn.LSTM, nn.MultiheadAttention)
_CONV = nn.modules.conv._ConvNd


class _RefusedError(Exception):
    """Why a group cannot be pruned."""


@dataclass
class Candidate:
    """A guess at a group; ``headwise`` is a second guess with whole attention heads as units."""

    group: Group
    headwise: Group | None = None


@dataclass
class Discovery:
    """What the graph gave: candidates in the model's order, and what it could not offer."""

    candidates: list[Candidate] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def discover(model: nn.Module, forward: Callable[[], Any]) -> Discovery:
    """Propose a group for every Linear and Conv layer.

    Args:
        model: a copy of the full model that may be spoilt, in evaluation mode, all of whose
            floating parameters require gradients.
        forward: runs an example batch through it.
    """
    found = Discovery()
    tied = _tied(model)
    layers = [n for n, m in model.named_modules() if isinstance(m, (nn.Linear, _CONV))]
    candidates: dict[str, Candidate] = {}
    unclear: list[str] = []
    try:
        probe = Probe(model, forward)
    except Exception:  # noqa: BLE001 (whatever it is, the graph is asked instead)
        unclear, layers = layers, []
    for name in layers:
        try:
            group = probe.group(name)
            _refuse_tied(group, tied)
        except UnitsAreOutputsError:
            found.refused[name or "(model)"] = "its units are outputs of the model"
        except _RefusedError as refusal:
            found.refused[name] = str(refusal)
        except UnclearError:
            unclear.append(name)
        else:
            candidates[name] = Candidate(group)
    if unclear:
        candidates |= _from_graph(model, forward, unclear, tied, found.refused)
    found.candidates = [candidates[name] for name, _ in model.named_modules() if name in candidates]
    return found


def _from_graph(
    model: nn.Module,
    forward: Callable[[], Any],
    wanted: list[str],
    tied: dict[str, str],
    refused: dict[str, str],
) -> dict[str, Candidate]:
    """Candidates for the layers in ``wanted``; what cannot be offered goes to ``refused``."""
    found: dict[str, Candidate] = {}
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
        except _RefusedError as refusal:
            refused.update({names[producer]: str(refusal) for producer in producers})
        except Exception as error:  # noqa: BLE001 (whatever it is, the layer stays dense)
            reason = f"its couplings could not be followed: {type(error).__name__}: {error}"
            refused.update({names[producer]: reason for producer in producers})
        else:
            found[name] = Candidate(group, _headwise(model, group))
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
                raise _RefusedError(f"more than {self._most} couplings lead away from it")
            return is_triggered_by(handler)

        return counted


def _refuse_tied(group: Group, tied: dict[str, str]) -> None:
    for member in group.members:
        if member.param in tied:
            raise _RefusedError(f"{member.param!r} is tied to {tied[member.param]!r}")


def _tied(model: nn.Module) -> dict[str, str]:
    """Names of tensors that are held under more than one name, with the other name."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, tensor in named_tensors(model):
        other = first.setdefault(id(tensor), name)
        if other != name:
            tied[name], tied[other] = other, name
    return tied


def _producers(coupled: Any) -> list[nn.Module]:
    return [
        item.dep.target.module
        for item in coupled
        if isinstance(item.dep.target.module, (nn.Linear, _CONV))
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
            raise _RefusedError("its units are outputs of the model")
        if isinstance(module, _MIXES):
            raise _RefusedError(f"{type(module).__name__} {where!r} mixes its units")
        if isinstance(module, nn.Embedding):
            raise _RefusedError(f"its units are the dimensions of the embedding {where!r}")
        entering = item.dep.handler.__name__ == "prune_in_channels"
        for tensor, axis in _slots(module, node, entering):
            tensor_name = params.get(id(tensor))
            if tensor_name is None:
                raise _RefusedError(f"a tensor of {where!r} is computed, not a plain parameter")
            if tensor_name in tied:
                raise _RefusedError(f"{tensor_name!r} is tied to {tied[tensor_name]!r}")
            positions = _positions(item.idxs, item.root_idxs, units, tensor_name)
            if int(positions.max()) >= tensor.shape[axis]:
                raise _RefusedError(f"its slice of {tensor_name!r} could not be located")
            (consumed if entering else produced).append(Member(tensor_name, axis, positions))
    if not consumed:
        raise _RefusedError("no layer was found that reads its units")
    return Group(name, units, tuple(produced), tuple(consumed))


def _slots(module: Any, node: Any, entering: bool) -> Iterable[tuple[Tensor, int]]:
    """The tensors of a layer that hold the units, with the axis."""
    if isinstance(module, nn.Parameter):
        return [(module, node.pruning_dim % module.dim())]
    if isinstance(module, (nn.Linear, _CONV)):
        depthwise = isinstance(module, _CONV) and module.groups == module.out_channels > 1
        if isinstance(module, _CONV) and module.groups > 1 and not depthwise:
            raise _RefusedError("a grouped convolution ties its units together")
        if isinstance(module, _CONV) and depthwise and module.in_channels != module.out_channels:
            raise _RefusedError("a depthwise convolution multiplies its units")
        out_axis = 1 if isinstance(module, _CONV) and module.transposed and not depthwise else 0
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
            raise _RefusedError(f"its slice of {name!r} could not be located")
        by_unit[root].append(index)
    if len({len(found) for found in by_unit}) != 1 or not by_unit[0]:
        raise _RefusedError(f"its units hold unequal slices of {name!r}")
    return torch.tensor([sorted(found) for found in by_unit], dtype=torch.int64)


def _refuse_streams(graph: Any, producers: list[nn.Module], names: dict[nn.Module, str]) -> None:
    """A residual stream: one of the layers that write the units reads, at length, another's."""
    nodes = {
        graph.module2node[module]: module
        for module in producers
        if not (isinstance(module, _CONV) and module.groups > 1)  # depthwise: passes units on
    }
    for node, module in nodes.items():
        seen, stack = set(), list(node.inputs)
        while stack:
            above = stack.pop()
            if above in seen:
                continue
            seen.add(above)
            if above in nodes and above is not node:
                raise _RefusedError(
                    f"a residual stream: {names[module]!r} adds to what it reads "
                    f"from {names[nodes[above]]!r}"
                )
            stack.extend(above.inputs)


def _headwise(model: nn.Module, group: Group) -> Group | None:
    """The same slices with whole attention heads as units, if an owner counts heads."""
    path = group.name
    while path:
        path = path.rpartition(".")[0]
        module = model.get_submodule(path)
        for attribute in _HEAD_COUNTS:
            heads = getattr(module, attribute, None)
            if not isinstance(heads, int) or heads < 2 or group.units % heads:
                continue
            return Group(
                name=group.name,
                units=heads,
                produced=_merge(group.produced, heads),
                consumed=_merge(group.consumed, heads),
                heads=(f"{path}.{attribute}" if path else attribute,),
            )
    return None


def _merge(members: tuple[Member, ...], heads: int) -> tuple[Member, ...]:
    return tuple(
        Member(member.param, member.axis, member.positions.reshape(heads, -1)) for member in members
    )
