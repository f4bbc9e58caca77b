"""The writer of one shard of a folder log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa

from stream_prune.errors import RunError
from stream_prune.features import EVENT_TIME, LABEL
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.commit import BatchRef, Claim, Commit
from stream_prune.minibatch.log import StaleWriter
from stream_prune.minibatch.publish import publish, sync_folder, told

if TYPE_CHECKING:
    from pathlib import Path

    from stream_prune.minibatch.folder_log import FolderLog


class FolderLogWriter:
    """Claims the shard's next epoch when made; then writes batches and dead letters, and commits.

    Attributes:
        epoch: the claimed epoch.
        last: the shard's last commit, by whatever writer; None before the first.
    """

    epoch: int
    last: Commit | None

    def __init__(self, log: FolderLog, shard: int) -> None:
        self.shard = shard
        self._log = log
        self._temporary = log.path / "temporary"
        self._written: dict[BatchName, BatchRef] = {}
        self._claim()
        self._clean_up()

    def write_batch(self, window_end: int, index: int, batch: pa.RecordBatch) -> BatchRef:
        """Write batch ``index`` of a window; visible to readers once committed.

        Args:
            window_end: ms since 1970 (UTC), after every committed window of the shard.
            index: place within the window.
            batch: 1 to ``header.batch_rows`` rows with the log's columns, sorted by
                (event time, partition, offset).

        Raises:
            StaleWriter: a newer writer has claimed the shard.
            RunError: the file can't be written, or exists with other rows.
            ValueError: the batch is none of this window's.
        """
        name = BatchName(window_end, self.shard, index)
        self._check_window(window_end)
        self._check_batch(name, batch)
        data = _arrow_file(batch, self._log.schema)
        ref = BatchRef(index, batch.num_rows, hashlib.sha256(data).hexdigest())
        self._publish(self._log.batch_path(name), data)
        self._written[name] = ref
        return ref

    def write_dead_letters(self, window_end: int, letters: Iterable[Mapping[str, Any]]) -> None:
        """Keep what can't be learned from: one JSON line a letter, sorted by its position.

        Called at most once for a window, before its commit. Letters of a window that was never
        committed are removed by the next writer, so none is kept twice.

        Args:
            window_end: of the commit that goes with the letters.
            letters: JSON values; each has source, partition, offset and reason.

        Raises:
            StaleWriter: a newer writer has claimed the shard.
            RunError: the file can't be written.
        """
        self._check_window(window_end)
        key = ("source", "partition", "offset")
        ordered = sorted(letters, key=lambda letter: tuple(letter[part] for part in key))
        if ordered:
            text = "".join(json.dumps({**letter}) + "\n" for letter in ordered)
            name = f"{window_end}-{self.shard}-{self.epoch}.jsonl"
            path = self._log.path / "dead_letters" / name
            try:
                self._publish(path, text.encode())
            except StaleWriter:  # the newer writer's clean-up may have come before this file
                path.unlink(missing_ok=True)
                raise

    def commit(self, commit: Commit) -> None:
        """Close a window for good: readers see it from now on, whole.

        Raises:
            StaleWriter: a newer writer has claimed the shard.
            RunError: the record can't be written.
            ValueError: the commit does not continue this shard's sequence.
        """
        self._check_commit(commit)
        for folder in ("batches", "dead_letters"):
            sync_folder(self._log.path / folder)
        if not self._append(commit.to_json()):
            self._refuse()
        self.last = commit
        self._written.clear()

    def _claim(self) -> None:
        while True:
            self._read_sequence()
            self.epoch += 1
            if self._append(Claim(self.epoch).to_json()):
                return

    def _read_sequence(self) -> None:
        """Find the next number, the newest epoch and the last commit."""
        folder = self._log.record_path(self.shard, 0).parent
        with told(folder):
            self._next = sum(1 for _ in folder.iterdir())
        self.epoch, self.last = 0, None
        for number in reversed(range(self._next)):
            record = self._log.record(self.shard, number)
            if record is None:
                raise RunError(
                    f"{self._log.record_path(self.shard, number)}: missing: restore the file, or "
                    "replay the events into a new log"
                )
            epoch = record.epoch if isinstance(record, Claim) else record.writer_epoch
            self.epoch = max(self.epoch, epoch)
            if isinstance(record, Commit):
                self.last = record
                return

    def _append(self, text: str) -> bool:
        path = self._log.record_path(self.shard, self._next)
        if not publish(path, text.encode(), temporary=self._temporary, owner=self._owner):
            return False
        sync_folder(path.parent)
        self._next += 1
        return True

    @property
    def _owner(self) -> str:
        return f"{self.shard}-{self.epoch}"

    def _publish(self, path: Path, data: bytes) -> None:
        created = publish(path, data, temporary=self._temporary, owner=self._owner)
        if self._log.record_path(self.shard, self._next).exists():
            self._refuse()
        if created:
            return
        with told(path):
            if path.read_bytes() != data:
                raise RunError(
                    f"{path}: same name, other content: an earlier run wrote other rows for this "
                    "window: run with the configuration and the input of that run, or into a new "
                    "log folder"
                )

    def _refuse(self) -> NoReturn:
        raise StaleWriter(
            f"{self._log.path}: shard {self.shard}: a newer writer has claimed it since this one "
            f"(epoch {self.epoch}) started: nothing more is written; let only one job write a shard"
        )

    def _clean_up(self) -> None:
        """Remove what killed writers of this shard left: drafts, and letters without a commit."""
        after = 0 if self.last is None else self.last.window_end
        with told(self._temporary):
            for draft in self._temporary.iterdir():
                owner, _, epoch = draft.name.partition(".")[0].partition("-")
                mine = owner == str(self.shard) and int(epoch) < self.epoch
                if mine or owner == "header":
                    draft.unlink(missing_ok=True)
        with told(self._log.path / "dead_letters"):
            for letters in (self._log.path / "dead_letters").glob(f"*-{self.shard}-*.jsonl"):
                window_end, _, written_by = (int(part) for part in letters.stem.split("-"))
                if window_end > after and written_by < self.epoch:
                    letters.unlink(missing_ok=True)

    def _check_window(self, window_end: int) -> None:
        length = self._log.header.window_ms
        if window_end % length or window_end <= 0:
            raise ValueError(f"window_end {window_end} is no positive multiple of {length} ms")
        if self.last is not None and self.last.end:
            raise ValueError(f"shard {self.shard} has ended with window {self.last.window_end}")
        if self.last is not None and window_end != self.last.window_end + length:
            raise ValueError(
                f"window_end {window_end} does not follow {self.last.window_end}: every window is "
                "committed in turn, empty ones too"
            )

    def _check_batch(self, name: BatchName, batch: pa.RecordBatch) -> None:
        expected = self._log.schema
        if not batch.schema.equals(expected):
            raise ValueError(f"batch {name} has the columns {batch.schema}, not {expected}")
        if not 0 < batch.num_rows <= self._log.header.batch_rows:
            raise ValueError(f"batch {name} has {batch.num_rows} rows")
        nulls = [c for c in expected.names if c != LABEL and _nulls(batch.column(c))]
        if nulls:
            raise ValueError(f"batch {name}: nulls in {', '.join(nulls)}")
        times = batch.column(EVENT_TIME).to_numpy()
        start = name.window_end - self._log.header.window_ms
        if times[0] < start or times[-1] >= name.window_end or (np.diff(times) < 0).any():
            raise ValueError(f"batch {name}: event times out of order or outside the window")

    def _check_commit(self, commit: Commit) -> None:
        self._check_window(commit.window_end)
        found = (commit.shard, commit.writer_epoch, commit.fingerprint)
        if found != (self.shard, self.epoch, self._log.header.fingerprint):
            raise ValueError(f"the commit is another writer's: {found}")
        for index, ref in enumerate(commit.batches):
            name = BatchName(commit.window_end, self.shard, index)
            if self._written.get(name) != ref:
                raise ValueError(f"batch {name} was not written as {ref}")


def _arrow_file(batch: pa.RecordBatch, schema: pa.Schema) -> bytes:
    """The batch as an Arrow IPC file; equal rows give equal bytes, whatever they were cut from.

    Not compressed: that would save half the bytes and read at less than half the speed.
    """
    exact = pa.RecordBatch.from_arrays([_exact(column) for column in batch.columns], schema=schema)
    stream = pa.BufferOutputStream()
    with pa.ipc.new_file(stream, schema) as writer:
        writer.write_batch(exact)
    data: bytes = stream.getvalue().to_pybytes()
    return data


def _nulls(column: pa.Array) -> int:
    inner = column.flatten().null_count if pa.types.is_list(column.type) else 0
    return int(column.null_count + inner)


def _exact(column: pa.Array) -> pa.Array:
    """The column without what slicing and filtering leave: spare bytes, values below nulls."""
    if pa.types.is_list(column.type):
        offsets = column.offsets.to_numpy()
        return pa.ListArray.from_arrays(
            pa.array(offsets - offsets[0]), pa.array(column.flatten().to_numpy())
        )
    if not column.null_count:
        return pa.array(column.to_numpy())
    absent = column.is_null().to_numpy(zero_copy_only=False)
    return pa.array(column.fill_null(0).to_numpy(), mask=absent)
