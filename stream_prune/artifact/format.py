"""The files of an artifact, and the manifest that makes a copy of it checkable.

An artifact is one flat folder::

    manifest.json       format, name, time of writing; size and SHA-256 of every other file
    model.json          structure, plan, tables, feature specification, metrics, lineage
    head.safetensors    the head's weights and buffers; a matrix that is mostly zero as a bit for
                        each weight and the others' values (model.json names it under "packed");
                        projections of tables whose rows are narrower than the model reads
    head.onnx           the head's graph; its weights are references into head.safetensors
    tables.safetensors  one [cold + rows, ...] tensor a table: the cold rows, then the k-th
                        id's; float32, float16, or bytes (see stored_rows.py)
    ids.arrow           one line a table: its name and its ids, ascending
    example.arrow       raw input rows, and the score that the training side gave each

Every file but the manifest is a function of the model, so writing twice gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_prune.errors import RunError

FORMAT = 1
MANIFEST = "manifest.json"
MODEL = "model.json"
HEAD = "head.safetensors"
GRAPH = "head.onnx"
TABLES = "tables.safetensors"
IDS = "ids.arrow"
EXAMPLE = "example.arrow"
FILES = (MODEL, HEAD, GRAPH, TABLES, IDS, EXAMPLE)

SCORE = "__score"
"""The column of ``example.arrow`` with the expected probabilities (float32)."""


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 (hex) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What the folder must hold; ``created`` is ISO 8601 (UTC)."""

    name: str
    created: str
    files: Mapping[str, FileEntry]
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """SHA-256 over all files' digests: what a copy must agree with."""
        return self._digest_of(self.files)

    @property
    def weights_digest(self) -> str:
        """SHA-256 over the weights and ids alone: equal for equal models, whatever wrote them."""
        return self._digest_of((HEAD, TABLES, IDS))

    def _digest_of(self, names: Iterable[str]) -> str:
        lines = "".join(f"{name} {self.files[name].sha256}\n" for name in sorted(names))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files together, the manifest aside."""
        return sum(entry.size for entry in self.files.values())

    def to_json(self) -> str:
        files = {name: vars(self.files[name]) for name in sorted(self.files)}
        return canonical_json(
            {"format": self.format, "name": self.name, "created": self.created, "files": files}
        )

    @classmethod
    def of_folder(cls, folder: Path, name: str, created: str) -> Manifest:
        """The manifest of the files of ``folder`` as they are now."""
        return cls(name, created, {file: describe_file(folder / file) for file in FILES})


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of an artifact, unchecked against its files.

    Raises:
        RunError: there is none, it can't be read, or it is of a format that this version can't.
    """
    path = Path(folder) / MANIFEST
    values = read_json(path)
    if values.get("format") != FORMAT:
        raise RunError(
            f"{path}: format {values.get('format')!r}: this version reads format {FORMAT} only"
        )
    try:
        files = {str(k): FileEntry(int(v["size"]), v["sha256"]) for k, v in values["files"].items()}
        return Manifest(str(values["name"]), str(values["created"]), files)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: is no artifact manifest ({error!r})") from None


def verify(folder: str | Path) -> Manifest:
    """Compare every file with the manifest.

    Returns:
        The manifest.

    Raises:
        RunError: a file is missing, extra, or changed; the message names it.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        there = {entry.name for entry in os.scandir(folder)} - {MANIFEST}
    except OSError as error:
        raise RunError(f"{folder}: cannot be read: {error.strerror}") from None
    for name in sorted({*manifest.files, *FILES} - there):
        raise RunError(f"{folder}: {name} is missing; fetch the artifact again")
    for name in sorted(there - set(manifest.files)):
        raise RunError(f"{folder}: {name} is no part of the artifact; fetch it into a clean folder")
    for name, expected in sorted(manifest.files.items()):
        found = describe_file(folder / name)
        if found != expected:
            raise RunError(
                f"{folder}: {name} has changed: {found.size} bytes, sha256 {found.sha256[:12]}; "
                f"the manifest says {expected.size} bytes, sha256 {expected.sha256[:12]}"
            )
    return manifest


def describe_file(path: Path) -> FileEntry:
    """Size and digest of a regular file.

    Raises:
        RunError: it can't be read, or is something else (a link may change after it was checked).
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise RunError(f"{path}: is not a regular file")
        with path.open("rb") as file:
            return FileEntry(status.st_size, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None


def canonical_json(values: Any) -> str:
    """JSON with sorted keys, for people and for stable digests; NaN and infinities are refused."""
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        RunError: the file can't be read or is no JSON object.
    """
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path}: is missing: {path.parent} is no artifact folder") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise RunError(f"{path}: must be a JSON object")
    return values
