"""Historical logs as event streams: one module each, named here so that a command can list them.

A module of this room holds ``SPEC`` (what its columns mean), ``DESCRIPTION`` (one line with source
and licence) and ``prepare`` (writes the stream as files that a replay job reads). Some of them read
what the user has downloaded (:mod:`stream_prune.datasets.own_download`).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from stream_prune.features import FeatureSpec

_MODULES = {
    "amazon-book": "amazon_book",
    "avazu": "avazu",
    "capacity-bound": "capacity_bound",
    "criteo-1tb": "criteo_1tb",
    "criteo-kaggle": "criteo_kaggle",
    "flights": "nyc_flights",
    "flights-3m": "flights_3m",
    "gowalla": "gowalla",
    "kuairand": "kuairand",
    "mind": "mind",
    "ml-100k": "movielens_100k",
    "ml-1m": "movielens_1m",
    "ml-20m": "movielens_20m",
    "ml-25m": "movielens_25m",
    "synthetic": "synthetic",
    "yelp2018": "yelp2018",
}


class Dataset(Protocol):
    """What every module of this room offers; its docstring tells source, licence and events."""

    __doc__: str | None
    SPEC: FeatureSpec
    DESCRIPTION: str

    def prepare(self, folder: str | Path, rows: int | None = None) -> list[Path]: ...


def names() -> tuple[str, ...]:
    """The names that :func:`load` knows, sorted."""
    return tuple(sorted(_MODULES))


def load(name: str) -> Dataset:
    """The data set called ``name``.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in _MODULES:
        raise ConfigError(f"dataset = {name!r}: must be one of {', '.join(names())}")
    return cast(Dataset, importlib.import_module(f"{__name__}.{_MODULES[name]}"))


def describe(name: str) -> str:
    """One line about the data set called ``name``: events, label, source, licence."""
    return load(name).DESCRIPTION
