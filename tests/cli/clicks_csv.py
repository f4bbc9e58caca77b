"""A small click log as a CSV file, and the configuration that fits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

HEADER = "time,clicked,price,age,user,item,country"
START = np.datetime64("2024-01-01T00:00:00")


def lines(rows: int = 1_500, seed: int = 0) -> list[str]:
    """Events a minute apart; an odd item is clicked far more often."""
    random = np.random.default_rng(seed)
    out = []
    for i in range(rows):
        item = random.integers(0, 400)
        clicked = int(random.random() < (0.7 if item % 2 else 0.1))
        price, age = random.gamma(2.0, 10.0), random.integers(18, 80)
        user, country = random.integers(0, 300), random.choice(["de", "fr", "it"])
        time = START + np.timedelta64(i, "m")
        out.append(f"{time},{clicked},{price:.2f},{age},u{user},i{item},{country}")
    return out


def write_csv(path: Path, events: list[str], header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *events]) + "\n", encoding="utf-8")
    return path


def write_config(folder: Path, **changes: Any) -> Path:
    """A configuration whose paths all lie in ``folder``; ``changes`` replace whole keys."""
    values = {
        "run": f"{folder}/run",
        "log": f"{folder}/log",
        "source": {"files": [f"{folder}/events.csv"]},
        "features": {
            "event_time": "time",
            "label": "clicked",
            "label_delay": "1h",
            "dense": [{"name": "price", "transform": "log1p", "missing": 0}],
            "categorical": ["user", "item", "country"],
        },
        "windows": {"length": "1h", "batch_rows": 64},
        "model": {"dim": 4, "bottom": [16], "top": [32, 16]},
        "tables": {"default_capacity": 300},
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path
