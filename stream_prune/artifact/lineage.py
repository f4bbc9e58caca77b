"""Where a model is from."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import stream_prune

_LIBRARIES = (
    "stream-prune",
    "torch",
    "numpy",
    "pyarrow",
    "safetensors",
    "onnx",
    "onnxscript",
    "onnxruntime",
)


@dataclass(frozen=True)
class Lineage:
    """``run`` and ``step`` (windows learned) identify a model for publishing.

    ``checkpoint`` is its folder, ``log`` the mini-batch log, ``window_end`` (ms) the last window
    learned from it. ``libraries`` and ``git`` are filled in when the artifact is written.
    """

    run: str
    step: int
    checkpoint: str | None = None
    log: str | None = None
    window_end: int | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    git: str | None = None

    def with_versions(self) -> Lineage:
        """With the libraries of this process, and the commit of this code if it is a checkout."""
        libraries = {library: version(library) for library in _LIBRARIES}
        return replace(self, libraries=libraries, git=_git_version())


def _git_version() -> str | None:
    """The commit; ``-dirty`` where files differ from it."""
    root = Path(stream_prune.__file__).parents[1]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
