"""The writer of one shard of a folder log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stream_prune.errors import RunError
from stream_prune.minibatch.arrow_file import arrow_file
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.commit import BatchRef, Claim, Commit
from stream_prune.minibatch.log import StaleWriter
from stream_prune.minibatch.publish import Draft, draft, sync_files, sync_folder, told
from stream_prune.minibatch.writer_checks import check_batch, check_commit, check_window

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

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
        self._drafts: dict[BatchName, Draft] = {}  # of those that have no name yet
        self._states: dict[str, tuple[str, Draft]] = {}  # digest, and the file without its name
        self._letters: list[Draft] = []  # have their names, are not yet durable
        self._claim()
        self._clean_up()

    def write_batch(self, window_end: int, index: int, batch: pa.RecordBatch) -> BatchRef:
        """Write batch ``index`` of a window; it gets its name with the commit that names it.

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
        check_window(window_end, self.last, self._log.header)
        check_batch(name, batch, self._log.schema, self._log.header)
        self._check_claim()
        data = arrow_file(batch, self._log.schema)
        digest = hashlib.sha256(data).hexdigest()
        ref = BatchRef(index, batch.num_rows, digest, size=len(data))
        path = self._log.batch_path(name)
        if name in self._written:
            _require_equal(path, self._written[name] == ref)
        elif path.exists():
            self._require_content(path, data)
        else:
            self._drafts[name] = self._draft(path, data)
        self._written[name] = ref
        return ref

    def write_state(self, name: str, data: bytes) -> tuple[str, str]:
        """Keep an Arrow file that a restart needs; it gets its name with the commit that names it.

        Returns:
            What the commit calls it, and its SHA-256 (hex).

        Raises:
            StaleWriter: a newer writer has claimed the shard.
            RunError: the file can't be written.
        """
        self._check_claim()
        digest = hashlib.sha256(data).hexdigest()
        self._states[name] = digest, self._draft(self._log.state_path(name), data)
        return name, digest

    def keep_states(self, names: Iterable[str]) -> None:
        """Remove all state of the shard but what has these names: no restart needs it any more.

        Raises:
            RunError: a file can't be removed.
        """
        kept = {self._log.state_path(name) for name in names}
        with told(self._log.path / "state"):
            for path in (self._log.path / "state").glob(f"*-{self.shard}-*.arrow"):
                if path not in kept:
                    path.unlink(missing_ok=True)

    def forget_states(self, names: Iterable[str]) -> None:
        """Remove what no restart needs any more.

        Raises:
            RunError: a file can't be removed.
        """
        for name in names:
            path = self._log.state_path(name)
            with told(path):
                path.unlink(missing_ok=True)

    def write_dead_letters(self, window_end: int, letters: Iterable[Mapping[str, Any]]) -> None:
        """Keep what can't be learned from: one JSON line a letter, sorted by its position.

        Called at most once for a window, before its commit. People can read them from now on; they
        are durable with the commit. Letters of a window that was never committed are removed by
        the next writer, so none is kept twice.

        Args:
            window_end: of the commit that goes with the letters.
            letters: JSON values; each has source, partition, offset and reason.

        Raises:
            StaleWriter: a newer writer has claimed the shard.
            RunError: the file can't be written.
        """
        check_window(window_end, self.last, self._log.header)
        key = ("source", "partition", "offset")
        ordered = sorted(letters, key=lambda letter: tuple(letter[part] for part in key))
        self._check_claim()
        if not ordered:
            return
        name = f"{window_end}-{self.shard}-{self.epoch}.jsonl"
        text = "".join(json.dumps({**letter}) + "\n" for letter in ordered)
        made = self._draft(self._log.path / "dead_letters" / name, text.encode())
        try:
            if not made.link():
                self._check_claim()
                raise ValueError(f"{made.path}: the letters of this window were written before")
        finally:
            made.discard()
        try:
            self._check_claim()
        except StaleWriter:  # the newer writer's clean-up may have come before this file
            made.path.unlink(missing_ok=True)
            raise
        self._letters.append(Draft(made.path, made.path))

    def leave_dead_letters(self, letters: Iterable[Mapping[str, Any]]) -> None:
        """Show letters that no commit will name, because the job stops; the next writes them.

        Raises:
            StaleWriter: a newer writer has claimed the shard.
            RunError: the file can't be written.
        """
        after = 0 if self.last is None else self.last.window_end
        self.write_dead_letters(after + self._log.header.window_ms, letters)

    def close(self) -> None:
        """Nothing is kept open."""

    def commit(self, commits: Sequence[Commit]) -> None:
        """Close windows for good, in order: readers see each, whole, from its turn on.

        Everything that the commits name is made durable first, all of it together, then the commit
        records likewise, then each record gets its number. What was written since the call before
        and is named by none of the commits is dropped.

        Raises:
            StaleWriter: a newer writer has claimed the shard; commits may have come before it.
            RunError: something can't be written.
            ValueError: the commits do not continue this shard's sequence.
        """
        self._check_claim()
        self._check_commits(commits)
        try:
            self._publish_states()
            self._publish_batches([_name(c, ref) for c in commits for ref in c.batches])
            if self._letters:
                self._require_claim(sync_files(self._letters))
                sync_folder(self._log.path / "dead_letters")
            self._require_claim(self._append(commits))
        finally:
            for pending in [*self._drafts.values(), *(made for _, made in self._states.values())]:
                pending.discard()
            self._drafts.clear()
            self._states.clear()
            self._written.clear()
            self._letters.clear()

    def _check_commits(self, commits: Sequence[Commit]) -> None:
        claim, header = Claim(self.epoch), self._log.header
        for last, commit in zip([self.last, *commits], commits, strict=False):
            check_commit(commit, last, shard=self.shard, claim=claim, header=header)
            for index, ref in enumerate(commit.batches):
                if ref.index != index or self._written.get(_name(commit, ref)) != ref:
                    raise ValueError(f"batch {_name(commit, ref)} was not written as {ref}")
            for name, digest in commit.state:
                if self._states.get(name, ("",))[0] != digest:
                    raise ValueError(f"state {name} was not written with the digest {digest}")

    def _publish_batches(self, names: Sequence[BatchName]) -> None:
        drafts = [self._drafts[name] for name in names if name in self._drafts]
        self._require_claim(sync_files(drafts))
        self._check_claim()
        for made in drafts:
            if not made.link():
                self._check_claim()
                self._require_content(made.path, made.file.read_bytes())
        if names:
            sync_folder(self._log.path / "batches")

    def _publish_states(self) -> None:
        drafts = [made for _, made in self._states.values()]
        if not drafts:
            return
        self._require_claim(sync_files(drafts))
        for made in drafts:
            if not made.link():
                self._check_claim()
                self._require_content(made.path, made.file.read_bytes())
        sync_folder(drafts[0].path.parent)

    def _claim(self) -> None:
        while True:
            self._read_sequence()
            self.epoch += 1
            if self._append([Claim(self.epoch)]):
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

    def _append(self, records: Sequence[Claim | Commit]) -> bool:
        """Give records the next numbers, in order; False if one of those was taken."""
        drafts: list[Draft] = []
        try:
            for number, record in enumerate(records, self._next):
                path = self._log.record_path(self.shard, number)
                drafts.append(self._draft(path, record.to_json().encode()))
            if not sync_files(drafts):
                return False
            for made, record in zip(drafts, records, strict=True):
                if not made.link():
                    return False
                self._next += 1
                if isinstance(record, Commit):
                    self.last = record
            sync_folder(self._log.record_path(self.shard, 0).parent)
        finally:
            for made in drafts:
                made.discard()
        return True

    def _draft(self, path: Path, data: bytes) -> Draft:
        owner = f"{self.shard}-{self.epoch}"
        return draft(path, data, temporary=self._temporary, owner=owner)

    def _require_content(self, path: Path, data: bytes) -> None:
        with told(path):
            _require_equal(path, path.read_bytes() == data)

    def _check_claim(self) -> None:
        self._require_claim(not self._log.record_path(self.shard, self._next).exists())

    def _require_claim(self, held: bool) -> None:
        if not held:
            raise StaleWriter(
                f"{self._log.path}: shard {self.shard}: a newer writer has claimed it since this "
                f"one (epoch {self.epoch}) started: nothing more is written; let only one job "
                "write a shard"
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


def _name(commit: Commit, ref: BatchRef) -> BatchName:
    return BatchName(commit.window_end, commit.shard, ref.index)


def _require_equal(path: Path, equal: bool) -> None:
    if not equal:
        raise RunError(
            f"{path}: same name, other content: an earlier run wrote other rows for this "
            "window: run with the configuration and the input of that run, or into a new "
            "log folder"
        )
