"""The page on writing one's own parts: its code is run as it stands."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from stream_prune.cli.main import run
from stream_prune.drift import DriftMonitor
from stream_prune.sparsity import Budget, SparsityController

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")


@pytest.fixture
def own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's code as the file ``own_parts.py`` in a folder on the import path."""
    code = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    (tmp_path / "own_parts.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_parts", None)


def test_the_parts_work_in_a_loop(own_parts: Path) -> None:
    import own_parts as mine

    torch.manual_seed(0)
    layers = nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 1), nn.Flatten(0)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x = torch.randn(20_000, 4)
    y = (x[:, 0] + 0.3 * torch.randn(len(x)) > 0).float()
    y[12_000:] = 1 - y[12_000:]  # the drift
    controller = SparsityController(
        model,
        optimizer,
        policy=mine.Thrifty(),
        budget=Budget(macs=0.25),
        criterion=mine.fan_out,
        drift=DriftMonitor(mine.Doubled(), slice_rows=100, cooldown_rows=100),
        example=x[:4],
        window_rows=500,
    )
    kinds = []
    for start in range(0, len(x), 100):
        part = slice(start, start + 100)
        logits = model(x[part])
        loss = binary_cross_entropy_with_logits(logits, y[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        events = controller.step(labels=y[part], scores=logits.detach().sigmoid())
        kinds += [(event.kind, event.trigger) for event in events]
    assert kinds.count(("shrink", "thrift")) >= 5, kinds
    assert ("drift", "detector") in kinds
    assert ("grow", "loss") in kinds
    assert layers[0].out_features < 128


def test_the_parts_work_in_a_job(own_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    changes = {
        "run": own_parts / "run",
        "log": own_parts / "log",
        "source.rows": 9_000,
        "source.folder": own_parts / "data",
        "registry": "null",
        "model": '{name: "own_parts:TwoStreams", dim: 4, bottom: [], top: [32], '
        "parameters: {hidden: 24}}",
        "sparsity": '{policy: "own_parts:Thrifty", parameters: {tolerance: 0.1}, '
        'criterion: "own_parts:fan_out", window_rows: 500, budget: {macs: 0.3}}',
        "drift": '{detector: "own_parts:Doubled", parameters: {factor: 1.5}}',
    }
    arguments = [f"--set={key}=null" for key in ("sparsity", "drift")]  # or they are merged
    arguments += [f"--set={key}={value}" for key, value in changes.items()]
    assert run(["replay", "configs/synthetic.yaml", *arguments]) == 0
    summary = json.loads((own_parts / "run" / "summary.json").read_text())
    assert summary["shrinks"] >= 3
    assert summary["macs_inference"] < 0.7 * summary["dense_macs_inference"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("sparsity.policy=often", "policy = 'often': must be one of ads, "),
        ("sparsity.policy=no_such_module:Mine", "cannot be imported"),
        ("sparsity.policy=own_parts:Mine", "'own_parts' has no 'Mine'"),
        ("sparsity.policy=own_parts:Doubled", "must be a frozen dataclass"),
        ("sparsity.criterion=own_parts:read_weight", "must be a Weights, Steps or Activations"),
        ("model={name: 'own_parts:Doubled'}", "must be a module class with an attribute Config"),
    ],
)
def test_what_is_no_such_part_is_told(
    own_parts: Path, change: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ROOT / "configs" / "synthetic.yaml"
    assert run(["replay", str(config), "--set=sparsity.parameters={}", f"--set={change}"]) == 2
    assert told in capsys.readouterr().err
