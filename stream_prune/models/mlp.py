"""Fully connected layers, the part that every head has."""

from itertools import pairwise

from torch import nn


def mlp(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these widths with ReLUs between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
