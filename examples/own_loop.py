"""The plugin in a training loop of one's own: a plain torch recommender on a drifting click stream.

Nothing here comes from the library's models, logs or trainer; the plugin needs torch, numpy,
safetensors and torch-pruning alone. Half-way the users' taste changes. Run it::

    python examples/own_loop.py
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from stream_prune.drift import Cusum, DriftMonitor
from stream_prune.sparsity import ADS, Budget, SparsityController

USERS, ITEMS, DIM, CONTEXT = 200, 100, 8, 6
BATCH, STEPS, CHANGE = 256, 900, 480


class ClickModel(nn.Module):
    """User and item embeddings, a context, and a tower on top."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(USERS, DIM), nn.Embedding(ITEMS, DIM)
        self.context = nn.Sequential(nn.Linear(CONTEXT, 64), nn.BatchNorm1d(64), nn.ReLU())
        self.tower = nn.Sequential(
            nn.Linear(2 * DIM + 64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def forward(self, user: Tensor, item: Tensor, context: Tensor) -> Tensor:
        parts = [self.user(user), self.item(item), self.context(context)]
        return self.tower(torch.cat(parts, dim=1)).squeeze(1)


def clicks(seed: int) -> tuple[list[tuple[Tensor, Tensor, Tensor]], list[np.ndarray]]:
    """A stream of batches; from ``CHANGE`` on other contexts and items are liked."""
    random = np.random.default_rng(seed)
    before, after = random.normal(size=(2, CONTEXT)), random.normal(size=(2, CONTEXT))
    liked = random.normal(size=(2, ITEMS))
    inputs, labels = [], []
    for step in range(STEPS):
        now = int(step >= CHANGE)
        taste = after if now else before
        user, item = random.integers(USERS, size=BATCH), random.integers(ITEMS, size=BATCH)
        context = random.normal(size=(BATCH, CONTEXT))
        logit = 2 * np.tanh(context @ taste[0]) * np.tanh(context @ taste[1]) + liked[now][item]
        labels.append((random.random(BATCH) < 1 / (1 + np.exp(-2 * logit))).astype(np.float32))
        inputs.append(
            (torch.tensor(user), torch.tensor(item), torch.tensor(context, dtype=torch.float32))
        )
    return inputs, labels


def main() -> None:
    torch.manual_seed(0)
    inputs, labels = clicks(seed=0)
    model = ClickModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS, eta_min=1e-3)

    controller = SparsityController(
        model,
        optimizer,
        policy=ADS(warmup_rows=40_000, shrink_steps=3, regrow_density=0.6, regrow_windows=6),
        budget=Budget(macs=0.2),
        drift=DriftMonitor(Cusum(rising_only=True)),
        example=inputs[0],
    )

    losses = []
    print("    rows  what    why       loss   units  MACs/example  rate")
    for step, (batch, label) in enumerate(zip(inputs, labels, strict=True)):
        logits = model(*batch)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(label))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        scores = torch.sigmoid(logits).detach()
        for event in controller.step(labels=label, scores=scores, event_time=step * 1000):
            print(
                f"{event.rows:8d}  {event.kind:6s}  {event.trigger:8s}  "
                f"{np.mean(losses[-20:]):.3f}  {event.density_after:6.1%}  "
                f"{event.macs_after:12d}  {event.rate:.2f}"
            )
    share = controller.cost().macs_inference / controller.dense_cost.macs_inference
    print(f"in the end: loss {np.mean(losses[-50:]):.3f} at {share:.1%} of the dense MACs")
    for layer, reason in controller.refused.items():
        print(f"stays dense: {layer} ({reason})")


if __name__ == "__main__":
    main()
