"""Proposes groups: by experiment, and where that does not tell, from the dependency graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from stream_prune.sparsity.experiment import CONV, UnclearError
from stream_prune.sparsity.graph_groups import graph_groups
from stream_prune.sparsity.groups import Group, named_tensors
from stream_prune.sparsity.probe import Probe
from stream_prune.sparsity.refusals import RefusedError, why_dense
from stream_prune.sparsity.whole import whole_modules


@dataclass(frozen=True)
class Candidate:
    """Guesses at a group, the finest first."""

    guesses: tuple[Group, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose units they are, without repeats."""
        weights = [m.param for guess in self.guesses for m in guess.produced]
        names = [self.guesses[0].name, *(weight.rpartition(".")[0] for weight in weights)]
        return tuple(dict.fromkeys(names))


@dataclass
class Discovery:
    """Candidates in the model's order, and the layers for which there is none, with the reason."""

    candidates: list[Candidate] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def discover(model: nn.Module, forward: Callable[[], Any]) -> Discovery:
    """Propose a group for every Linear and Conv layer, or say why it has none; and whole modules.

    Args:
        model: a copy of the full model that may be spoilt, in evaluation mode, all of whose
            floating parameters require gradients.
        forward: runs an example batch through it.
    """
    found = Discovery()
    for name, module in model.named_modules():
        reason = why_dense(module)
        if reason is not None:
            inner = [f"{name}.{n}" if name else n for n in _layers(module)]
            found.refused.update(dict.fromkeys([name, *inner], reason))
    layers = [name for name in _layers(model) if name not in found.refused]
    tied = tied_tensors(model)
    by_layer: dict[str, Candidate] = {}
    unclear = _by_experiment(model, forward, layers, tied, by_layer, found.refused)
    if unclear:
        groups = graph_groups(model, forward, unclear, tied, found.refused)
        by_layer |= {name: Candidate((group,)) for name, group in groups.items()}
    found.candidates = [by_layer[name] for name in layers if name in by_layer]
    found.candidates += [Candidate((group,)) for group in whole_modules(model)]
    found.refused = {name or "(model)": why for name, why in found.refused.items()}
    return found


def _by_experiment(
    model: nn.Module,
    forward: Callable[[], Any],
    layers: list[str],
    tied: dict[str, str],
    found: dict[str, Candidate],
    refused: dict[str, str],
) -> list[str]:
    """Adds what the experiments found; returns the layers that they did not tell anything of."""
    try:
        probe = Probe(model, forward)
    except Exception:  # noqa: BLE001 (whatever it is, the graph is asked instead)
        return layers
    unclear: list[str] = []
    taken: set[str] = set()
    for name in layers:
        if name in taken:
            continue
        try:
            candidate = Candidate(probe.candidates(name))
            _refuse_tied(candidate, tied)
        except RefusedError as refusal:
            refused[name] = str(refusal)
        except UnclearError:
            unclear.append(name)
        else:
            found[name] = candidate
            taken.update(candidate.layers)
    return [name for name in unclear if name not in taken]


def _layers(model: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules() if isinstance(m, (nn.Linear, CONV))]


def _refuse_tied(candidate: Candidate, tied: dict[str, str]) -> None:
    for guess in candidate.guesses:
        for member in guess.members:
            if member.param in tied:
                raise RefusedError(f"{member.param!r} is tied to {tied[member.param]!r}")


def tied_tensors(model: nn.Module) -> dict[str, str]:
    """Names of tensors that are held under more than one name, with the other name."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, tensor in named_tensors(model):
        other = first.setdefault(id(tensor), name)
        if other != name:
            tied[name], tied[other] = other, name
    return tied
