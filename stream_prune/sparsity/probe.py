"""Finds candidate groups by experiment: change a layer's units, see which inputs change.

Units are told apart by their binary numbers: for each bit, those with a 0 there are changed, then
those with a 1. An input that answers to one unit alone changes in exactly one of the two, and the
answers spell the unit's number; one that answers to several changes in both somewhere. That takes
2 log2(units) passes a layer, and needs no knowledge of the operations in between. Attention heads
are found in the same way, with whole heads as units. What it gives is a guess that :mod:`prove`
checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from stream_prune.sparsity.experiment import CONV, Experiment, UnclearError, out_axis
from stream_prune.sparsity.groups import Group, Member
from stream_prune.sparsity.refusals import RefusedError, why_opaque

_HEAD_COUNTS = ("num_heads", "n_heads", "heads", "n_head", "nhead", "num_attention_heads")

Answers: TypeAlias = dict[str, Tensor]
"""Per reader int64 [inputs]: the unit that each input answers to, -1 for none."""


class Probe:
    """Experiments on a model.

    Args:
        model: a copy that may be hooked, in evaluation mode, with weights that are not trivial.
        forward: runs an example batch through it.
    """

    def __init__(self, model: nn.Module, forward: Callable[[], Any]) -> None:
        self._model = model
        self._seen = Experiment(model, forward)
        self._answers = cache(self._spell)

    def candidates(self, name: str) -> tuple[Group, ...]:
        """What the layer ``name`` may be a group of, by single units and by heads.

        Raises:
            RefusedError: it cannot be pruned.
            UnclearError: more than these experiments is needed.
        """
        if name not in self._seen.reached:
            raise RefusedError("the example batch does not reach it")
        moves = self._seen.moves[name]
        for reader, module in self._seen.opaque.items():
            if reader in moves and bool(moves[reader].any()):
                raise RefusedError(why_opaque(reader, module))
        found: list[Group] = []
        with suppress(UnclearError):
            found.append(self._group(name, self._seen.units(name), 1))
        found += self._by_heads(name)
        if not found:
            raise UnclearError
        return tuple(found)

    def _by_heads(self, name: str) -> Iterator[Group]:
        """With whole heads as units, if an owner counts heads; with what else follows its width."""
        path = name
        while path:
            path = path.rpartition(".")[0]
            owner = self._model.get_submodule(path)
            numbers = {k: v for k, v in vars(owner).items() if type(v) is int and v > 1}
            for attribute in _HEAD_COUNTS:
                heads = numbers.pop(attribute, 0)
                if not heads or self._seen.units(name) <= heads:
                    continue
                try:
                    group = self._group(name, heads, 3)
                except UnclearError:
                    continue
                first = (_dotted(path, attribute), 1)
                sizes = {
                    member.positions.numel(): member.positions.shape[1] for member in group.members
                }
                more = [(_dotted(path, k), sizes[v]) for k, v in numbers.items() if v in sizes]
                choices = [
                    (),
                    *((each,) for each in more),
                    *([tuple(more)] if len(more) > 1 else []),
                ]
                for choice in choices:
                    yield Group(
                        name, heads, group.produced, group.consumed, follows=(first, *choice)
                    )
                return

    def _group(self, name: str, units: int, slices: int) -> Group:
        """The layer and all others whose units meet its own before they are read."""
        labels, answers = self._first(name, units, slices)
        producers, ignored = {name: labels}, set[str]()
        while True:
            other = next(
                (
                    o
                    for o in self._seen.moves
                    if o not in {*producers, *ignored} and self._meets(o, answers)
                ),
                None,
            )
            if other is None:
                break
            try:
                labels, theirs = self._first(other, units, slices)
                answers = _merged(answers, theirs)
            except UnclearError:
                ignored.add(other)  # it mixes or scales them: the proof will tell
            else:
                producers[other] = labels
        self._refuse_streams([p for p in producers if p in self._seen.layers], answers)
        produced = [
            member for p, label in producers.items() for member in self._written(p, label, units)
        ]
        consumed: list[Member] = []
        for reader, numbers in answers.items():
            positions = _by_unit(numbers, units)
            if reader in self._seen.scales:
                held = ("weight", "bias", "running_mean", "running_var")
                scale = self._seen.scales[reader]
                tensors = [leaf for leaf in held if getattr(scale, leaf, None) is not None]
                produced += [Member(_dotted(reader, leaf), 0, positions) for leaf in tensors]
                continue
            module = self._seen.layers[reader]
            if isinstance(module, CONV) and module.groups > 1:
                raise UnclearError
            consumed.append(Member(_dotted(reader, "weight"), 1 - out_axis(module), positions))
        if not consumed:
            raise UnclearError
        return Group(name, units, tuple(produced), tuple(consumed))

    def _first(self, name: str, units: int, slices: int) -> tuple[Tensor, Answers]:
        """The first way to cut a layer into so many units such that an input answers to one."""
        length = self._seen.units(name)
        if name in self._seen.layers:
            module = self._seen.layers[name]
            if isinstance(module, CONV) and module.groups > 1:
                raise UnclearError
        for parts in range(1, slices + 1):  # three where queries, keys and values are packed
            if length % (parts * units):
                continue
            try:
                return self._answers(name, units, parts)
            except UnclearError:
                continue
        raise UnclearError

    def _spell(self, name: str, units: int, parts: int) -> tuple[Tensor, Answers]:
        """The unit of each entry of a layer, and per reader the one that each input answers to.

        Raises:
            RefusedError: the model's output answers.
            UnclearError: an input answers to several.
        """
        length = self._seen.units(name)
        labels = torch.arange(length) // (length // (parts * units)) % units
        spelled: Answers = {}
        for bit in range(max(1, (units - 1).bit_length())):
            with_bit = labels.bitwise_right_shift(bit).bitwise_and(1).bool()
            ones, ends = self._seen.change(name, with_bit)
            zeros, ends_too = self._seen.change(name, ~with_bit)
            if bool((ends & ends_too).any()):
                raise RefusedError("its units reach the model's output with no layer in between")
            if bool((ends | ends_too).any()):
                raise RefusedError("its units are outputs of the model")
            for reader, changed in ones.items():
                if bool((changed & zeros[reader]).any()):
                    raise UnclearError
                seen = torch.where(changed | zeros[reader], changed.long() << bit, -(1 << 40))
                spelled[reader] = spelled.get(reader, torch.zeros_like(seen)) + seen
        found = {r: n.clamp(min=-1) for r, n in spelled.items() if bool((n >= 0).any())}
        return labels, found

    def _meets(self, other: str, answers: Answers) -> bool:
        """Whether another layer moves the same inputs: that may couple the two layers' units."""
        moves = self._seen.moves[other]
        return any(
            bool(moves[reader][numbers >= 0].any())
            for reader, numbers in answers.items()
            if reader in moves
        )

    def _written(self, producer: str, labels: Tensor, units: int) -> list[Member]:
        positions = _by_unit(labels, units)
        if producer in self._seen.vectors:
            shape = self._seen.vectors[producer].shape
            return [Member(producer, max(range(len(shape)), key=lambda a: shape[a]), positions)]
        layer = self._seen.layers[producer]
        weight = Member(_dotted(producer, "weight"), out_axis(layer), positions)
        if layer.bias is None:
            return [weight]
        return [weight, Member(_dotted(producer, "bias"), 0, positions)]

    def _refuse_streams(self, producers: list[str], answers: Answers) -> None:
        """A residual stream: one of the layers that write the units reads, at length, another's.

        A gate does so as well, and is none: what it says stops to matter when it is large.
        """
        for above in producers:
            reached, stack = set[str](), [above]
            while stack:
                moves = self._seen.moves.get(stack.pop(), {})
                new = {r for r, m in moves.items() if r not in reached and bool(m.any())}
                reached |= new
                stack += new & self._seen.layers.keys()
            for below in producers:
                if below == above or below not in reached:
                    continue
                met = [r for r in answers if bool(self._seen.moves[below][r].any())]
                if not all(self._seen.saturates(below, reader) for reader in met):
                    raise RefusedError(
                        f"a residual stream: {below!r} adds to what it reads from {above!r}"
                    )


def _dotted(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if path else leaf


def _merged(ours: Answers, theirs: Answers) -> Answers:
    """Both together, where each input still answers to one unit."""
    merged = dict(ours)
    for reader, numbers in theirs.items():
        known = merged.get(reader, torch.full_like(numbers, -1))
        if bool(((known >= 0) & (numbers >= 0) & (known != numbers)).any()):
            raise UnclearError
        merged[reader] = torch.maximum(known, numbers)
    return merged


def _by_unit(numbers: Tensor, units: int) -> Tensor:
    """From the unit of each input (negative: none) to the inputs of each unit: int64 [units, k]."""
    inputs = (numbers >= 0).nonzero().flatten()
    order = inputs[torch.argsort(numbers[inputs], stable=True)]
    counts = torch.bincount(numbers[inputs], minlength=units)
    if len(counts) != units or bool((counts != counts[0]).any()):
        raise UnclearError
    return order.reshape(units, -1)
