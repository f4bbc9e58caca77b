"""RecBole's dense models on the same split, in an environment of their own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from record import Figure

from compare_rankings.outcome import Outcome
from stream_prune.training.interaction_split import InteractionSplit


def peer_figures(
    python: Path,
    name: str,
    epochs: int,
    parts: InteractionSplit,
    dense: list[Outcome],
    kept: Path | None = None,
) -> list[Figure]:
    """The dense runs' means beside RecBole's, at the same rate and seeds, and whether they agree.

    They do where they differ by at most 1.96 standard errors of a mean over users: the two learn
    from other random numbers, and their users are the same.

    Args:
        python: an interpreter that has RecBole.
        name: of the model.
        epochs: as in the dense runs.
        parts: the split.
        dense: the dense runs.
        kept: folder in which RecBole's finished runs lie, not to be made again; None: they are.
    """
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder) / "ml", parts)
        found = [
            _figures(python, name, Path(folder), epochs, run.rate, run.seed, kept) for run in dense
        ]
    figures = []
    for metric, title in (("recall", "Recall@20"), ("ndcg", "NDCG@20")):
        theirs = [each[metric] for each in found]
        ours = float(np.mean([getattr(run.test, metric) for run in dense]))
        users = np.mean([getattr(run.test, f"{metric}s") for run in dense], axis=0)
        near = 1.96 * float(users.std(ddof=1)) / len(users) ** 0.5
        mean = float(np.mean(theirs))
        holds = abs(mean - ours) <= near
        label = f"{name} dense beside RecBole's own: {title}"
        figures.append(Figure(label, ours, "", f"{mean:.4f} +- {near:.4f}", holds))
    return figures


def _write(folder: Path, parts: InteractionSplit) -> None:
    folder.mkdir()
    for name in ("train", "validation", "test"):
        part = getattr(parts, name)
        pairs = zip(part.users.tolist(), part.items.tolist(), strict=True)
        lines = ["user_id:token\titem_id:token", *(f"{user}\t{item}" for user, item in pairs)]
        (folder / f"ml.{name}.inter").write_text("\n".join(lines) + "\n")


def _figures(
    python: Path,
    name: str,
    folder: Path,
    epochs: int,
    rate: float,
    seed: int,
    kept: Path | None,
) -> dict[str, float]:
    title = f"RecBole {name}, {epochs} epochs, rate {rate}, seed {seed}"
    file = None if kept is None else kept / f"{title}.json"
    if file is None or not file.exists():
        started = time.monotonic()
        found = _run(python, name, folder, epochs, rate, seed)
        print(f"{title}: {found}, {time.monotonic() - started:.0f} s", flush=True)
        if file is None:
            return found
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = file.with_suffix(".part")
        whole.write_text(json.dumps(found))
        whole.replace(file)
    read: dict[str, float] = json.loads(file.read_text())
    return read


def _run(
    python: Path, name: str, folder: Path, epochs: int, rate: float, seed: int
) -> dict[str, float]:
    script = Path(__file__).with_name("recbole_peer.py")
    command = [python, script, name, folder, str(epochs), str(rate), str(seed)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"RecBole's {name} has failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
