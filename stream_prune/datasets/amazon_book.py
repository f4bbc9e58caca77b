"""Amazon-book in LightGCN's format: books that users rated.

Source: the user's own download of ``train.txt`` and ``test.txt`` from the folder
``data/amazon-book`` of ``gusye1234/LightGCN-PyTorch``.
R. He, J. McAuley: Ups and Downs. WWW 2016 (Amazon product data).

Licence: research use; the data's authors ask to be cited.
Nothing of it lies in this project.

52,643 users, 91,599 books, 2,984,108 ratings. What of the event stream is made up is told in
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
    "amazon-book: 52,643 users, 91,599 books, 2,984,108 ratings; your own download in "
    "LightGCN's format; research use; the data's authors ask to be cited"
)
DOWNLOAD = Download(
    "amazon-book", "LightGCN-PyTorch's data/amazon-book", "github.com/gusye1234/LightGCN-PyTorch"
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events; see :func:`.lightgcn_format.prepare`."""
    return lightgcn_format.prepare(DOWNLOAD, folder, rows)


def pairs(folder: str | Path) -> tuple[InteractionLog, InteractionLog]:
    """The training and the test pairs; see :func:`.lightgcn_format.pairs`."""
    return lightgcn_format.pairs(DOWNLOAD, folder)
