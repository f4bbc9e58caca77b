from __future__ import annotations

import re
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_loop_in_the_readme_shrinks_a_model(capsys) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    generator = torch.Generator().manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    model = torch.nn.Sequential(tower, torch.nn.Flatten(0))
    x = torch.randn(30_000, 8, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).float()
    stream = [(x[i : i + 250], y[i : i + 250]) for i in range(0, len(x), 250)]
    names = {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.01),
        "x_example": x[:8],
        "stream": stream,
        "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    }
    exec(code[1], names)
    assert "shrink" in capsys.readouterr().out
    assert tower[0].out_features < 64


def test_files_that_the_readme_names_are_there() -> None:
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_room_is_on_the_map() -> None:
    for path in (ROOT / "stream_prune").glob("*/__init__.py"):
        assert f"  {path.parent.name}/" in README, path.parent.name
