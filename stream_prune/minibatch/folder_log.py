"""The mini-batch log as a folder.

    log.json                                  the header, written once
    commits/<shard>/<number>.json             ONE sequence of claims and commits per shard
    batches/<window end>-<shard>-<index>.arrow
    dead_letters/<window end>-<shard>-<epoch>.jsonl
    state/<name>.arrow                        what a join keeps for a restart
    readers/<name>.json                       what a trainer needs no more
    trimmed.json                              up to which window batches have been removed
    temporary/                                drafts of writers at work

Every file is created exclusively (:mod:`stream_prune.minibatch.publish`). A claim takes a number of
the same sequence as the commits do, so whoever was there before collides with it at its next commit
and is refused: two writers can never both extend a shard.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch, schema
from stream_prune.minibatch.commit import BatchRef, Claim, Commit, parse_record
from stream_prune.minibatch.folder_writer import FolderLogWriter
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.publish import publish, read_json, replace_json, sync_folder, told
from stream_prune.minibatch.retention import KeptCommits, Retention

HEADER, TRIMMED = "log.json", "trimmed.json"


class FolderLog:
    """A log in a folder: :meth:`create` or :meth:`open` it, then write or read shards."""

    def __init__(self, path: Path, header: LogHeader) -> None:
        self.path = path
        self.header = header

    @classmethod
    def create(cls, path: str | Path, header: LogHeader) -> FolderLog:
        """A new log, or the one that is there if it has the same header.

        Raises:
            ConfigError: the folder holds a log with another header; the differing parts are named.
            RunError: the folder can't be written.
        """
        path = Path(path)
        shards = [path / "commits" / str(shard) for shard in range(header.shards)]
        names = ("batches", "dead_letters", "state", "temporary")
        folders = [*(path / name for name in names), *shards]
        for folder in folders:
            with told(folder):
                folder.mkdir(parents=True, exist_ok=True)
        publish(
            path / HEADER,
            header.to_json().encode(),
            temporary=path / "temporary",
            owner="header",
        )
        for folder in (path / "commits", path, path.absolute().parent):
            sync_folder(folder)
        log = cls(path, _read_header(path))
        log.header.require_equal(header, str(path))
        return log

    @classmethod
    def open(cls, path: str | Path, spec: FeatureSpec | None = None) -> FolderLog:
        """An existing log, to read; with ``spec``, only if its rows were encoded by that one.

        Raises:
            ConfigError: there is no log, or one of another specification; the parts are named.
        """
        log = cls(Path(path), _read_header(Path(path)))
        log.header.require_spec(log.spec if spec is None else spec, str(path))
        return log

    @property
    def place(self) -> str:
        """Where the log is, for messages."""
        return str(self.path)

    @property
    def dead_letters(self) -> str:
        """Where its dead letters are, for messages."""
        return str(self.path / "dead_letters")

    def agree(self, name: str, text: str) -> str:
        """Say something about the log once, in ``<name>.json``; returns what that file says.

        Raises:
            RunError: the file can't be written or read.
        """
        file = self.path / f"{name}.json"
        if publish(file, text.encode(), temporary=self.path / "temporary", owner="header"):
            sync_folder(self.path)
        with told(file):
            return file.read_text(encoding="utf-8")

    def agreed(self, name: str) -> str | None:
        """What was said under a name; None if nothing was.

        Raises:
            RunError: the file can't be read.
        """
        file = self.path / f"{name}.json"
        with told(file):
            return file.read_text(encoding="utf-8") if file.exists() else None

    @cached_property
    def spec(self) -> FeatureSpec:
        """The feature specification of the rows."""
        return FeatureSpec.from_dict(self.header.features)

    def writer(self, shard: int) -> FolderLogWriter:
        """Claim a shard for writing: every earlier writer of it is stale from now on.

        Raises:
            RunError: the folder can't be written, or its commit sequence is damaged.
        """
        if not 0 <= shard < self.header.shards:
            raise ConfigError(
                f"{self.path}: shard = {shard}: the log has the shards 0 to "
                f"{self.header.shards - 1}"
            )
        return FolderLogWriter(self, shard)

    def record_path(self, shard: int, number: int) -> Path:
        """The file of a record of a shard's sequence."""
        return self.path / "commits" / str(shard) / f"{number:010d}.json"

    def batch_path(self, name: BatchName) -> Path:
        """The file of a batch."""
        return self.path / "batches" / f"{name}.arrow"

    def hold(self, reader: str, window_end: int) -> None:
        """A reader needs all windows that end after this one; remove its file when it is gone.

        Raises:
            RunError: the file can't be written.
        """
        replace_json(self.path / "readers" / f"{reader}.json", {"window_end": window_end})

    def trim(self, retention: Retention, at_least_ms: int = 0) -> int:
        """Remove batches beyond the bounds; returns up to which window end they are gone.

        What is to go is said before it goes, so that no reader begins there meanwhile.

        Raises:
            RunError: a file can't be read, written or removed.
        """
        before = self.trimmed()
        shards = self._kept.after(before)
        readers = (self.path / "readers").glob("*.json")
        holds = {file.stem: int(read_json(file)["window_end"]) for file in readers}
        until = retention.bound(shards, holds, at_least_ms)
        if until <= before:
            return before
        replace_json(self.path / TRIMMED, {"window_end": until})
        for commit in (commit for commits in shards for commit in commits):
            if commit.window_end <= until:
                for ref in commit.batches:
                    path = self.batch_path(BatchName(commit.window_end, commit.shard, ref.index))
                    with told(path):
                        path.unlink(missing_ok=True)
        return until

    def trimmed(self) -> int:
        """Up to which window end batches are gone; 0: none are.

        Raises:
            RunError: the file can't be read.
        """
        file = self.path / TRIMMED
        return int(read_json(file)["window_end"]) if file.exists() else 0

    def state_path(self, name: str) -> Path:
        """The file of a piece of state."""
        return self.path / "state" / f"{name}.arrow"

    def record(self, shard: int, number: int) -> Claim | Commit | None:
        """A record of a shard's sequence, None if there is none of that number yet.

        Raises:
            RunError: the file can't be read or holds no record of this log.
        """
        path = self.record_path(shard, number)
        with told(path):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            record = parse_record(text)
        except ValueError as error:
            raise RunError(
                f"{path}: damaged: {error}: restore the file, or replay the events into a new log"
            ) from None
        if isinstance(record, Commit) and record.fingerprint != self.header.fingerprint:
            raise RunError(
                f"{path}: the commit is of the feature specification {record.fingerprint[:12]}, "
                f"the log of {self.header.fingerprint[:12]}: the folder mixes two logs"
            )
        return record

    def commits(self, shard: int, start: int = 0) -> list[tuple[int, Commit]]:
        """The commits of a shard from sequence number ``start`` on, each with its number.

        Numbers are consecutive, so a poll costs one failed open and lists nothing.

        Raises:
            RunError: a record can't be read.
        """
        found: list[tuple[int, Commit]] = []
        number = start
        while (record := self.record(shard, number)) is not None:
            if isinstance(record, Commit):
                found.append((number, record))
            number += 1
        return found

    def seek(self, shard: int, window_end: int) -> int:
        """The number of the last commit that ends by ``window_end``; 0 if none does.

        Whoever reads on from there misses no later one, and sees whether the shard has ended. Of a
        log of n records about 2 log n are looked at.

        Raises:
            RunError: a record can't be read.
        """
        after, high = 0, 1
        while self.record_path(shard, high - 1).exists():
            high *= 2
        while after < high:
            middle = (after + high) // 2
            found = self._by(shard, middle) if self.record_path(shard, middle).exists() else None
            later = found is not None and found[1].window_end > window_end
            if later or not self.record_path(shard, middle).exists():
                high = middle
            else:
                after = middle + 1
        last = self._by(shard, after - 1)
        return 0 if last is None else last[0]

    def _by(self, shard: int, number: int) -> tuple[int, Commit] | None:
        """The last commit up to a number of the sequence, with its own."""
        for at in range(number, -1, -1):
            record = self.record(shard, at)
            if isinstance(record, Commit):
                return at, record
        return None

    def close(self) -> None:
        """Nothing is kept open."""

    def read_arrow(self, name: BatchName, ref: BatchRef) -> pa.RecordBatch:
        """A batch as written (memory-mapped), after its digest was verified.

        Raises:
            RunError: the file is missing, cut short or altered.
        """
        return _read_arrow(self.batch_path(name), ref.digest, f"the {ref.rows} rows")

    def read_state(self, name: str, digest: str) -> pa.RecordBatch:
        """What a commit names as state (memory-mapped), after its digest was verified.

        Raises:
            RunError: the file is missing, cut short or altered.
        """
        return _read_arrow(self.state_path(name), digest, "the state")

    def read(self, name: BatchName, ref: BatchRef, spec: FeatureSpec) -> MiniBatch:
        """A batch as arrays, after its digest was verified.

        Raises:
            RunError: the file is missing, cut short or altered.
        """
        return MiniBatch.from_arrow(spec, name, self.read_arrow(name, ref))

    @cached_property
    def _kept(self) -> KeptCommits:
        return KeptCommits(self.commits, self.seek, self.header.shards)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""
        return schema(self.spec)


def _read_arrow(path: Path, digest: str, what: str) -> pa.RecordBatch:
    with told(path):
        data = _map(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise RunError(
            f"{path}: not {what} that were committed ({len(data)} bytes with another digest): "
            "restore the file, or replay the events into a new log"
        )
    return pa.ipc.open_file(data).get_batch(0)


def _map(path: Path) -> pa.Buffer:
    if path.stat().st_size == 0:  # an empty file can't be mapped
        return pa.py_buffer(b"")
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def _read_header(path: Path) -> LogHeader:
    file = path / HEADER
    try:
        return LogHeader.from_json(file.read_bytes(), str(file))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no mini-batch log (there is no {HEADER} in it): "
            "name the folder that `stream-prune replay` wrote"
        ) from None
    except OSError as error:
        raise RunError(f"{file}: {error.strerror or error}") from error
