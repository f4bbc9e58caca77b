"""An artifact as what has changed since another: rows that are new or other, and ids that are gone.

A delta is a folder with everything of its artifact but the two files of the tables; in their place

    delta.safetensors   per table: its cold rows, the rows that changed, their ids, and ids gone
    delta.json          the digest of the artifact that it is a delta of, and of the file above

Put together with that artifact it is the whole again, bit for bit: its own manifest says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from stream_prune.artifact.folder import appearing
from stream_prune.artifact.format import (
    FILES,
    IDS,
    MANIFEST,
    TABLES,
    canonical_json,
    describe_file,
    read_json,
    read_manifest,
    verify,
)
from stream_prune.artifact.table_files import Ids, Stored, write_tables
from stream_prune.artifact.tables import read_arrow
from stream_prune.errors import RunError
from stream_prune.tensor_files import system_errors

DELTA, ROWS = "delta.json", "delta.safetensors"
_KEPT = tuple(name for name in (*FILES, MANIFEST) if name not in (TABLES, IDS))


def write_delta(artifact: Path, base: Path, folder: Path) -> int:
    """Write what an artifact has that another has not.

    Args:
        artifact: the new one.
        base: the one that whoever reads the delta has too.
        folder: must not exist yet; appears whole or not at all.

    Returns:
        Bytes of the delta.

    Raises:
        RunError: one of both is damaged, or the delta can't be written.
    """
    verify(artifact)
    known = verify(base)
    new, old = _tables(artifact), _tables(base)
    parts: dict[str, Stored] = {}
    for name, (rows, ids) in new.items():
        parts |= {f"{name}|{part}": v for part, v in _changes(rows, ids, old.get(name)).items()}
    with appearing(folder) as draft:
        for name in _KEPT:
            shutil.copyfile(artifact / name, draft / name)
        with system_errors():
            save_file(parts, draft / ROWS)
        told = {"base": known.digest, "tables": list(new), ROWS: vars(describe_file(draft / ROWS))}
        (draft / DELTA).write_text(canonical_json(told))
    return sum(path.stat().st_size for path in folder.iterdir())


def base_of(folder: Path) -> str:
    """The digest of the artifact that a delta goes with.

    Raises:
        RunError: it is no delta.
    """
    return str(read_json(folder / DELTA).get("base"))


def apply_delta(delta: Path, base: Path, folder: Path) -> None:
    """Put a delta and its base together: the artifact that the delta was made of, bit for bit.

    Args:
        delta: as :func:`write_delta` left it.
        base: the artifact that it goes with.
        folder: must not exist yet; appears whole or not at all, its digests verified.

    Raises:
        RunError: the base is another one, a file is damaged, or the whole can't be written.
    """
    told = read_json(delta / DELTA)
    if vars(describe_file(delta / ROWS)) != told.get(ROWS):
        raise RunError(f"{delta / ROWS}: has changed; fetch it again")
    if read_manifest(base).digest != told.get("base"):
        raise RunError(
            f"{delta}: is a delta of the artifact {str(told.get('base'))[:12]}, not of {base}"
        )
    verify(base)
    try:
        parts, old = load_file(delta / ROWS), _tables(base)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{delta / ROWS}: cannot be read: {error}") from None
    rows, ids = {}, {}
    for name in told["tables"]:
        changes = {part: parts[f"{name}|{part}"] for part in ("cold", "rows", "ids", "gone")}
        rows[name], ids[name] = _changed(changes, old.get(name))
    with appearing(folder) as draft:
        for name in _KEPT:
            shutil.copyfile(delta / name, draft / name)
        write_tables(draft, rows, ids)
        verify(draft)


_Table = tuple[Stored, Ids]


def _changes(rows: Stored, ids: Ids, old: _Table | None) -> dict[str, Stored]:
    """What to say of a table so that it follows from the old one."""
    cold, own = np.split(rows, [len(rows) - len(ids)])
    if old is None or old[0].dtype != rows.dtype or old[0].shape[1:] != rows.shape[1:]:
        gone: Ids = np.zeros(0, np.int64)
        changed = np.ones(len(ids), np.bool_)
    else:
        before, known = old[0][len(old[0]) - len(old[1]) :], old[1]
        gone = np.setdiff1d(known, ids, assume_unique=True)
        changed = ~np.isin(ids, known, assume_unique=True)
        both = np.flatnonzero(~changed)
        same = _bytes(own[both]) == _bytes(before[np.searchsorted(known, ids[both])])
        changed[both[~same.all(axis=1)]] = True
    return {"cold": cold, "rows": own[changed], "ids": ids[changed], "gone": gone}


def _changed(changes: Mapping[str, Any], old: _Table | None) -> _Table:
    """The table that follows from the old one; of the ids both have, the changes' rows count."""
    cold, rows, ids = changes["cold"], changes["rows"], changes["ids"]
    if old is not None and old[0].dtype == rows.dtype and old[0].shape[1:] == rows.shape[1:]:
        before, known = old[0][len(old[0]) - len(old[1]) :], old[1]
        stays = ~np.isin(known, np.concatenate([changes["gone"], ids]))
        rows = np.concatenate([before[stays], rows])
        ids = np.concatenate([known[stays], ids])
    order = np.argsort(ids)
    return np.concatenate([cold, rows[order]]), ids[order]


def _bytes(rows: Stored) -> npt.NDArray[np.uint8]:
    """Rows as bytes [V, bytes of a row]: -0 and 0 differ, and a NaN is equal to itself."""
    width = rows.shape[1] * rows.itemsize
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), width)


def _tables(artifact: Path) -> dict[str, _Table]:
    """Rows and ids of an artifact's tables, in their order."""
    rows, lines = load_file(artifact / TABLES), read_arrow(artifact / IDS)
    names, ids = lines["table"].to_pylist(), lines["ids"]
    return {
        name: (rows[name], values.values.to_numpy())
        for name, values in zip(names, ids, strict=True)
    }
