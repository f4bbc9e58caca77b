"""Whole modules as units: what can be left out of a model altogether."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from stream_prune.sparsity.groups import Group, Member


def whole_modules(model: nn.Module) -> Iterator[Group]:
    """A group of one unit for every module that says that it can be left out.

    It says so by two attributes: ``present``, an integer that whoever calls the module heeds (1:
    call it; 0: go on as if it had given zeros), and ``ends``, names of those of its parameters
    without which it gives zeros, such as weight and bias of its last layer. Whether that is so is
    proven like all else. A module inside of another such one is not looked at.
    """
    within: list[str] = []
    for name, module in model.named_modules():
        ends = getattr(module, "ends", ())
        if type(getattr(module, "present", None)) is not int or not isinstance(ends, tuple):
            continue
        if not name or not ends or any(name.startswith(f"{other}.") for other in within):
            continue
        within.append(name)
        members = []
        for end in ends:
            length = module.get_parameter(end).shape[0]
            members.append(Member(f"{name}.{end}", 0, torch.arange(length)[None]))
        yield Group(name, 1, (), tuple(members), follows=((f"{name}.present", 1),), whole=True)


def inside(name: str, whole: Iterable[str]) -> str | None:
    """The whole module that a tensor or a group belongs to, if any.

    >>> inside("layers.0.part.2.weight", ["layers.0.part", "layers.1.part"])
    'layers.0.part'
    """
    return next((each for each in whole if name.startswith(f"{each}.")), None)


def ensembles(whole: Iterable[str]) -> list[tuple[str, ...]]:
    """Whole modules by the module that holds them, which keeps at least one.

    >>> ensembles(["layers.0.parts.0", "layers.0.parts.1", "layers.1.parts.0"])
    [('layers.0.parts.0', 'layers.0.parts.1'), ('layers.1.parts.0',)]
    """
    found: dict[str, list[str]] = {}
    for name in whole:
        found.setdefault(name.rpartition(".")[0], []).append(name)
    return [tuple(names) for names in found.values()]


def present(groups: Iterable[Group], widths: Mapping[str, int]) -> list[Group]:
    """The groups that are run at these widths: no absent module, and nothing inside of one."""
    groups = list(groups)
    absent = {group.name for group in groups if group.whole and not widths[group.name]}
    return [g for g in groups if g.name not in absent and inside(g.name, absent) is None]
