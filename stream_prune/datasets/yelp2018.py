"""Yelp2018 in LightGCN's format: businesses that users reviewed.

Source: the user's own download of ``train.txt`` and ``test.txt`` from the folder
``data/yelp2018`` of ``gusye1234/LightGCN-PyTorch``.
Yelp Challenge 2018.

Licence: Yelp Dataset Terms of Use: academic, non-commercial, do not redistribute.
Nothing of it lies in this project.

31,668 users, 38,048 businesses, 1,561,406 reviews. What of the event stream is made up is told in
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
    "yelp2018: 31,668 users, 38,048 businesses, 1,561,406 reviews; your own download in "
    "LightGCN's format; Yelp Dataset Terms of Use: academic, non-commercial, do not redistribute"
)
DOWNLOAD = Download(
    "yelp2018", "LightGCN-PyTorch's data/yelp2018", "github.com/gusye1234/LightGCN-PyTorch"
)


def prepare(folder: str | Path, rows: int | None = None) -> list[Path]:
    """Write the first ``rows`` events; see :func:`.lightgcn_format.prepare`."""
    return lightgcn_format.prepare(DOWNLOAD, folder, rows)


def pairs(folder: str | Path) -> tuple[InteractionLog, InteractionLog]:
    """The training and the test pairs; see :func:`.lightgcn_format.pairs`."""
    return lightgcn_format.pairs(DOWNLOAD, folder)
