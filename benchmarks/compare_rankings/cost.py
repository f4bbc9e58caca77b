"""What a recommender of implicit feedback costs: products, memory, bytes on disk.

Masks make no product cheaper: what is *run* is the dense model's, whatever the density. What is
*left* are the products whose weight (or, in LightGCN's propagation, embedding) is not zero, which
is what the paper of DSL counts and what a kernel that skips zeros would do. Gradients of removed
weights are left out of it, except in the steps in which masks grow by them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stream_prune.models.lightgcn import LightGCN
from stream_prune.models.multvae import MultVAE
from stream_prune.models.neumf import NeuMF
from stream_prune.sparsity import ElementController
from stream_prune.sparsity.cost import measure
from stream_prune.sparsity.elements.storage import pack


@dataclass(frozen=True)
class Products:
    """Multiply-accumulates of matrix products.

    Attributes:
        inference: ranking all items for one user (LightGCN: its share of one propagation, too).
        training: one training step.
    """

    inference: float
    training: float


@dataclass(frozen=True)
class Masked:
    """How a model was held sparse.

    Attributes:
        kept: weights that are trained, per masked tensor; some are zero right after a rewiring.
        every: training steps between two looks at the gradients of the others.
    """

    kept: Mapping[str, int]
    every: int


def products(model: nn.Module, batch: int, masked: Masked | None = None) -> Products:
    """What is left to multiply in a model as it is.

    Args:
        model: the model; weights of zero cost nothing.
        batch: examples a training step learns from: pairs, negatives included, or users.
        masked: how it was held sparse; None: it was not.
    """
    if isinstance(model, LightGCN):
        return _lightgcn(model, batch, masked)
    if isinstance(model, NeuMF):
        items = model.config.items
        return _layers(model, (torch.arange(2), torch.arange(2)), items, batch, masked)
    assert isinstance(model, MultVAE)
    return _layers(model, (torch.zeros(2, model.config.items),), 1, batch, masked)


def _layers(
    model: nn.Module, inputs: tuple[Tensor, ...], times: int, batch: int, masked: Masked | None
) -> Products:
    """From the layers' products; ``times`` passes make a user's ranking."""
    weights = dict(model.named_parameters())
    found = measure(model.eval(), lambda: model(*inputs), 2, frozenset(weights))
    inference = training = 0.0
    for name, reuse in found.reuse.items():
        left, size = int(weights[name].count_nonzero()), weights[name].numel()
        inference += left * reuse * times
        if masked is None:
            training += left * reuse * found.passes[name]
            continue
        kept = masked.kept.get(name, size)
        training += kept * reuse * found.passes[name]
        # The whole gradient of the weights, now and then.
        training += (size - kept) * reuse / masked.every
    return Products(inference, training * batch)


@torch.no_grad()
def _lightgcn(model: LightGCN, batch: int, masked: Masked | None) -> Products:
    """Propagation edge by edge: one product for each entry of the embedding that is passed."""
    config, (forth, back) = model.config, model.blocks()
    # Edges that leave each item, and each user.
    leaving = [torch.diff(block.crow_indices()) for block in (back, forth)]
    users, items = model.users.weight, model.items.weight
    every_entry = 2 * forth.values().numel() * config.dim  # both directions of each edge
    passed = 0
    for _ in range(config.layers):
        for table, edges in ((items, leaving[0]), (users, leaving[1])):
            passed += int((table != 0).sum(1) @ edges)
        users, items = forth @ items, back @ users
    scores = config.items * config.dim
    # Backwards the gradient is dense in every layer but the last, where removed entries need none.
    asked = 1.0
    if masked is not None:
        density = sum(masked.kept.values()) / (
            model.users.weight.numel() + model.items.weight.numel()
        )
        asked = density + (1 - density) / masked.every
    backward = every_entry * (config.layers - 1 + asked)
    pairs = 3 * 2 * batch * config.dim  # two scores a pair, and two gradients each
    return Products(passed / config.users + scores, passed + backward + pairs)


def training_bytes(
    model: nn.Module, optimizer: torch.optim.Optimizer, controller: ElementController | None
) -> int:
    """Bytes that stay between two steps: weights, gradients, optimizer state, masks in use."""
    weights = sum(param.nbytes for param in model.parameters())
    state = sum(
        value.nbytes
        for states in optimizer.state.values()
        for value in states.values()
        if isinstance(value, Tensor)
    )
    # A mask in use is an integer of its weight's width.
    masks = 0
    if controller is not None:
        masks = sum(model.get_parameter(name).nbytes for name in controller.summary()["weights"])
    return 2 * weights + state + masks


def disk_bytes(model: nn.Module, controller: ElementController | None) -> int:
    """Bytes of a file of the model: masked tensors as a bit for every weight and the others."""
    masked = {} if controller is None else controller.summary()["weights"]
    held: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name in masked:
            parts = pack(tensor, tensor != 0)
            held |= {f"{name}|{part}": value for part, value in parts.items()}
        else:
            held[name] = tensor
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file(held, file)
        return file.stat().st_size
