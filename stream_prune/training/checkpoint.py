"""Checkpoints: everything that decides what happens next, in files that nothing has to unpickle.

A checkpoint is a folder ``checkpoints/<step>`` with ``state.safetensors`` (tensors, and bytes as
uint8 tensors), ``state.json`` (numbers and strings; floats in hexadecimal, so exact) and
``digests.json`` (SHA-256 of both). It appears under its name by one rename, after its content has
reached the disk, so a kill leaves either all of it or a temporary folder that nobody reads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from stream_prune.errors import RunError
from stream_prune.stateful import State, Stateful, StateValue
from stream_prune.tensor_files import system_errors

log = logging.getLogger(__name__)

FORMAT = 1
TENSORS, VALUES, DIGESTS = "state.safetensors", "state.json", "digests.json"


class Checkpoints:
    """The checkpoints of one run folder.

    Arguments: ``folder`` holds them; the last ``keep`` are kept.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, step: int, parts: Mapping[str, Stateful]) -> Path:
        """Write a checkpoint durably, then delete those beyond ``keep``.

        Raises:
            RunError: it can't be written; the earlier checkpoints are untouched.
        """
        target = self.folder / f"{step:010d}"
        temporary = self.folder / f".{step:010d}.tmp"
        states = {name: part.state_dict() for name, part in parts.items()}
        try:
            self._delete_leftovers()
            temporary.mkdir()
            write_states(temporary, step, states)
            aside = target.with_name(f".{target.name}.old.tmp")
            if target.exists():  # of a run that has gone back to it, or was cut back to before it
                target.rename(aside)
            temporary.rename(target)
            _sync_folder(self.folder)
            shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            full = " (free some space and start again)" if error.errno == errno.ENOSPC else ""
            raise RunError(
                f"{target}: the checkpoint cannot be written: {error.strerror or error}{full}"
            ) from error
        for old in self._found()[: -self.keep]:
            shutil.rmtree(old)
        return target

    def load(self) -> dict[str, State] | None:
        """The states of the newest intact checkpoint, None if there never was one.

        A damaged checkpoint is named in a warning, and the one before it is taken.

        Raises:
            RunError: there are checkpoints, and none of them is intact.
        """
        self._delete_leftovers()
        found = self._found()
        damages = []
        for folder in reversed(found):
            try:
                return read_states(folder)
            except RunError as error:
                log.warning("%s; going back to the checkpoint before it", error)
                damages.append(str(error))
        if damages:
            raise RunError(
                f"{self.folder}: no intact checkpoint: {'; '.join(damages)}. "
                "Train into a new run folder to start again from the beginning of the log"
            )
        return None

    def _found(self) -> list[Path]:
        """Folders of checkpoints, oldest first."""
        return sorted(path for path in self.folder.iterdir() if path.name.isdecimal())

    def _delete_leftovers(self) -> None:
        for path in self.folder.glob(".*.old.tmp"):
            target = path.with_name(path.name.strip(".").removesuffix(".old.tmp"))
            if not target.exists():  # killed between putting the old one aside and the new one in
                path.rename(target)
        for path in self.folder.glob(".*.tmp"):
            shutil.rmtree(path)


def write_states(folder: Path, step: int, states: Mapping[str, State]) -> None:
    """Write states into ``folder`` and bring them to the disk."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    storages: set[int] = set()
    for part, state in states.items():
        values[part] = {}
        for key, value in state.items():
            if isinstance(value, Tensor | bytes):
                values[part][key] = {"bytes" if isinstance(value, bytes) else "tensor": True}
                tensors[f"{part}/{key}"] = _own(_tensor(value), storages)
            else:
                values[part][key] = _tagged(part, key, value)
    content = json.dumps({"format": FORMAT, "step": step, "parts": values}, indent=0)
    with system_errors():
        safetensors.torch.save_file(tensors, folder / TENSORS)
    with (folder / TENSORS).open("rb") as file:
        os.fsync(file.fileno())
    _write(folder / VALUES, content.encode())
    digests = {name: _digest(folder / name) for name in (TENSORS, VALUES)}
    _write(folder / DIGESTS, json.dumps(digests).encode())
    _sync_folder(folder)


def restore(part: Stateful, name: str, states: Mapping[str, State], folder: Path) -> None:
    """Bring a part to its state in a checkpoint.

    Arguments: ``states`` are those in ``folder``, which is named where one is missing.

    Raises:
        RunError: another version of this library wrote the checkpoint, with other content.
    """
    try:
        part.load_state_dict(states[name])
    except KeyError as error:
        raise RunError(
            f"{folder}: the checkpoint of {name!r} lacks {error}: another version of stream_prune "
            "wrote it. Go on with that version, or train into a new run folder (the log is kept)"
        ) from error


def read_states(folder: Path) -> dict[str, State]:
    """Read and verify a checkpoint; tensors are on the CPU.

    Raises:
        RunError: a file is missing, differs from its digest or has another format.
    """
    try:
        digests = json.loads((folder / DIGESTS).read_bytes())
        for name in (TENSORS, VALUES):
            if _digest(folder / name) != digests[name]:
                raise RunError(f"{folder / name}: differs from its digest: it is damaged")
        content = json.loads((folder / VALUES).read_bytes())
        tensors = safetensors.torch.load_file(folder / TENSORS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(f"{folder}: the checkpoint is damaged: {error!r}") from error
    if content["format"] != FORMAT:
        raise RunError(
            f"{folder}: has format {content['format']}, this version reads format {FORMAT}"
        )
    return {
        part: {key: _untagged(tensors, part, key, tag) for key, tag in values.items()}
        for part, values in content["parts"].items()
    }


def _tensor(value: Tensor | bytes) -> Tensor:
    if isinstance(value, bytes):
        return torch.from_numpy(np.frombuffer(value, np.uint8).copy())
    return value


def _own(value: Tensor, storages: set[int]) -> Tensor:
    """A contiguous CPU tensor that shares its memory with no other one, as safetensors asks."""
    tensor = value.detach().cpu().contiguous()
    storage = tensor.untyped_storage()
    if storage.data_ptr() in storages or storage.nbytes() != tensor.nbytes:
        tensor = tensor.clone()
    storages.add(tensor.untyped_storage().data_ptr())
    return tensor


def _tagged(part: str, key: str, value: object) -> dict[str, Any]:
    kind = type(value)
    if kind is float:
        return {"float": float.hex(value)}  # type: ignore[arg-type]
    if kind is int or kind is str:
        return {kind.__name__: value}
    raise TypeError(f"state {part}/{key}: {kind.__name__} can't be kept in a checkpoint")


def _untagged(
    tensors: Mapping[str, Tensor], part: str, key: str, tag: Mapping[str, Any]
) -> StateValue:
    ((kind, value),) = tag.items()
    if kind == "tensor":
        return tensors[f"{part}/{key}"]
    if kind == "bytes":
        return tensors[f"{part}/{key}"].numpy().tobytes()
    if kind == "float":
        return float.fromhex(value)
    return int(value) if kind == "int" else str(value)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
