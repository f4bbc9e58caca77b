"""MultVAE: a variational autoencoder of a user's items with a multinomial likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class MultVAEConfig:
    """Sizes of a :class:`MultVAE`; the defaults are those of the paper.

    Args:
        items: I.
        hidden: widths from the items to the latents; the decoder has them in reverse.
        latent: D, the dimension of the latent vector.
        dropout: share of a user's items that the encoder does not see in training.

    Raises:
        ValueError: a size out of range, by name.
    """

    items: int
    hidden: tuple[int, ...] = (600,)
    latent: int = 200
    dropout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("items", "latent"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be 1 or more")
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden = {self.hidden}: widths must be 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout}: must be in [0, 1)")


class Reconstruction(NamedTuple):
    """What the model makes of B users: logits [B, I], and the latents' mean and log variance."""

    logits: Tensor
    mean: Tensor
    log_variance: Tensor


class MultVAE(nn.Module):
    """Variational autoencoder for collaborative filtering.

    With x [I] a user's items as zeros and ones::

        mean, log variance = encoder(dropout(x / |x|)),   tanh after each hidden layer
        z      ~ N(mean, variance) in training, z = mean otherwise
        p      = softmax(decoder(z)) over the items
        loss   = - sum_i x_i log p_i + beta KL(N(mean, variance) || N(0, 1)),   mean over users

    beta (``kl_weight``) is raised during training from 0 to a cap below 1: see :func:`annealed`.

    Source: Liang et al., Variational autoencoders for collaborative filtering, WWW 2018 (arXiv
    1802.05814), equations 1 to 8; weights start by Xavier's rule and biases as N(0, 0.001^2), cut
    at two deviations, as in the authors' code.

    Hidden units may be removed; latents may not, since the loss reads them.
    """

    def __init__(self, config: MultVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _mlp((config.items, *config.hidden, 2 * config.latent))
        self.decoder = _mlp((config.latent, *reversed(config.hidden), config.items))

    def forward(self, rows: Tensor) -> Reconstruction:
        """Reconstruct users [B, I], given as zeros and ones (or weights that are not negative)."""
        seen = F.dropout(F.normalize(rows), self.config.dropout, self.training)
        mean, log_variance = self.encoder(seen).chunk(2, dim=1)
        latent = mean
        if self.training:
            latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return Reconstruction(self.decoder(latent), mean, log_variance)

    def loss(self, rows: Tensor, kl_weight: float) -> Tensor:
        """Mean over users [B, I] of the negative log-likelihood and ``kl_weight`` times the KL."""
        logits, mean, log_variance = (each.float() for each in self(rows))
        likelihood = (F.log_softmax(logits, dim=1) * rows).sum(1)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        mean_loss: Tensor = (kl_weight * divergence - likelihood).mean()
        return mean_loss

    def scores(self, rows: Tensor) -> Tensor:
        """Logits [B, I] of every item for users with the items ``rows`` [B, I]."""
        reconstruction: Reconstruction = self(rows)
        return reconstruction.logits


def annealed(step: int, steps: int, cap: float = 0.2) -> float:
    """The KL's weight at a training step: linear from 0 to ``cap`` at ``steps * cap``, then flat.

    Source: the paper, section 2.2.2: it rises as if to 1 at ``steps`` and is stopped at the cap
    (0.2 there), which is chosen on validation.

    >>> [annealed(step, 1000) for step in (0, 100, 200, 900)]
    [0.0, 0.1, 0.2, 0.2]
    """
    return min(cap, step / steps) if steps else cap


def _mlp(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.trunc_normal_(linear.bias, std=0.001, a=-0.002, b=0.002)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])
