"""Running standardisation of dense features, a part of the head so that it is served with it."""

import torch
from torch import Tensor, nn


class RunningStandardise(nn.Module):
    """``(x - mean) / sqrt(var + eps)``, clipped to [-5, 5], over everything seen in train mode.

    The statistics are those of all rows that passed in train mode, the present batch included, as
    if they had come at once: batches are merged exactly (Chan, Golub & LeVeque 1983) in float64.
    In eval mode, and under :meth:`eval` copies, nothing changes. Before the first row mean is 0
    and variance 1.

    Args:
        features: N, the number of dense features.
        eps: added to the variance; a constant feature gives 0.

    >>> layer = RunningStandardise(1)
    >>> layer(torch.tensor([[1.0], [3.0]])).flatten().tolist()
    [-1.0, 1.0]
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, features: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("var", torch.ones(features, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Standardised features [B, N] of x [B, N], float32."""
        if self.training and x.numel() > 0:
            self._merge(x.detach().double())
        scale = (self.var + self.eps).rsqrt().float()
        return ((x - self.mean.float()) * scale).clamp(-5.0, 5.0)

    @torch.no_grad()
    def _merge(self, x: Tensor) -> None:
        rows = x.shape[0]
        mean = x.mean(0)
        var = (x - mean).square().mean(0)  # var_mean takes three times as long on a CPU
        total = self.count + rows
        share = rows / total
        between = (mean - self.mean).square_() * (share * (1.0 - share))
        self.mean.lerp_(mean, share)
        # With no rows so far share is 1, and the initial variance drops out.
        self.var.lerp_(var, share).add_(between)
        self.count.copy_(total)
