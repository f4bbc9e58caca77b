"""Gowalla in LightGCN's format: places that users checked in at.

Source: the user's own download of ``train.txt`` and ``test.txt`` from the folder
``data/gowalla`` of ``gusye1234/LightGCN-PyTorch``.
E. Cho, S. A. Myers, J. Leskovec: Friendship and Mobility. KDD 2011 (SNAP, Stanford).

Licence: research use; SNAP asks to be cited.
Nothing of it lies in this project.

29,858 users, 40,981 places, 1,027,370 check-ins. What of the event stream is made up is told in
:mod:`stream_prune.datasets.lightgcn_format`.
"""

from __future__ import annotations

from pathlib import Path

from stream_prune.datasets import lightgcn_format
from stream_prune.datasets.lightgcn_format import SPEC
from stream_prune.datasets.own_download import Download
from stream_prune.interactions import InteractionLog

__all__ = ["DESCRIPTION", "SPEC", "pairs", "prepare"]

DESCRIPTION = (
    "gowalla: 29,858 users, 40,981 places, 1,027,370 check-ins; your own download in "
    "LightGCN's format; research use; SNAP asks to be cited"
)
DOWNLOAD = Download(
    "gowalla", "LightGCN-PyTorch's data/gowalla", "github.com/gusye1234/LightGCN-PyTorch"
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events; see :func:`.lightgcn_format.prepare`."""
    return lightgcn_format.prepare(DOWNLOAD, folder, rows)


def pairs(folder: str | Path) -> tuple[InteractionLog, InteractionLog]:
    """The training and the test pairs; see :func:`.lightgcn_format.pairs`."""
    return lightgcn_format.pairs(DOWNLOAD, folder)
