"""Environments for the programs that benchmarks compare with: each has one of its own.

Their requirements can't be met together with this project's, or must not be mixed up with them. An
environment is made by the benchmark that wants it, with the pinned versions below, and kept.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("runs/peers")
TORCH = "torch==2.13.0"
"""The same as this project's, so that what is compared is not two versions of torch."""


@dataclass(frozen=True)
class Peer:
    """A program from PyPI.

    Attributes:
        name: of its environment.
        requirements: installed with all that they require.
        alone: installed after them, without what they require.
    """

    name: str
    requirements: tuple[str, ...]
    alone: tuple[str, ...] = ()


FUXICTR = Peer("fuxictr", (TORCH, "fuxictr==2.3.10"))
DEEPCTR_TORCH = Peer(  # the last two it needs and does not declare
    "deepctr-torch", (TORCH, "deepctr-torch==0.3.0", "requests>=2.32", "packaging>=24")
)
RECBOLE = Peer(  # it declares an old ray, which only its searches use
    "recbole",
    (TORCH, "numpy", "scipy", "pandas", "tqdm", "colorlog", "colorama", "pyyaml", "tabulate",
     "texttable", "psutil", "thop", "plotly", "scikit-learn"),
    alone=("recbole==1.2.1",),
)  # fmt: skip


def interpreter(peer: Peer, folder: Path = FOLDER) -> Path:
    """The Python of the peer's environment, which is made if it isn't there (some GB, minutes).

    Raises:
        SystemExit: pip can't install it.
    """
    home = folder / peer.name
    wanted = "\n".join((*peer.requirements, "--no-deps", *peer.alone))
    ready, python = home / "installed.txt", (home / "bin" / "python").absolute()
    if ready.exists() and ready.read_text() == wanted:
        return python
    print(f"{peer.name}: an environment of its own is made in {home}", flush=True)
    venv.create(home, clear=True, with_pip=True)
    _install(python, *peer.requirements)
    if peer.alone:
        _install(python, "--no-deps", *peer.alone)
    ready.write_text(wanted)
    return python


def _install(python: Path, *what: str) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *what],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"pip could not install {' '.join(what)}:\n{done.stderr[-2000:]}")
