"""What every benchmark leaves behind: figures for people, and a JSON file with the machine."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from stream_prune.cli.environment import environment


@dataclass(frozen=True)
class Figure:
    """One measured number; ``wanted`` is what it should be, ``holds`` whether it is.

    ``note`` says what ``holds`` cannot, e.g. that the measurement leaves it open.
    """

    name: str
    value: float
    unit: str
    wanted: str = ""
    holds: bool | None = None
    note: str = ""


def arguments(description: str) -> argparse.Namespace:
    """``[--quick] [--json FILE]``, the same for every benchmark."""
    return parser(description).parse_args()


def parser(description: str) -> argparse.ArgumentParser:
    """The same, for a benchmark that adds options of its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="the same measurement, shorter")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    return parser


def compact(text: str) -> str:
    """Lists of plain values on one line each: a curve of a hundred points is no hundred lines."""
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text)


def finish(figures: list[Figure], file: Path | None, **details: Any) -> None:
    """Print the figures with what was wanted of them; write them to ``file``."""
    width = max((len(figure.name) for figure in figures), default=0)
    for figure in figures:
        verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[figure.holds] or figure.note
        wanted = f"wanted {figure.wanted}" if figure.wanted else ""
        print(f"{figure.name:{width}}  {figure.value:10.4f} {figure.unit:9} {wanted:22} {verdict}")
    if file is not None:
        machine = {**environment(), "threads": torch.get_num_threads()}
        record = {"machine": machine, **details, "figures": [asdict(figure) for figure in figures]}
        file.write_text(compact(json.dumps(record, indent=1)) + "\n")
        print(f"written to {file}")
