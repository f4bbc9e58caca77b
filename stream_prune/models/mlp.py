"""Fully connected layers, the part that every head has."""

from itertools import pairwise

from torch import nn

from stream_prune.models.aligned import AlignedLinear


def mlp(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these widths with ReLUs between them.

    The first one reads what features and interactions come to, an odd number more often than not.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        kind = nn.Linear if layers else AlignedLinear
        layers += [kind(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
