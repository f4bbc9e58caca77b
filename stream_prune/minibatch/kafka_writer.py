"""The writer of one shard of a log in Kafka."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kafka.errors import (
    AuthorizationError,
    KafkaError,
    MessageSizeTooLargeError,
)

from stream_prune.errors import RunError
from stream_prune.minibatch.arrow_file import arrow_file
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.commit import BatchRef, Claim, Commit
from stream_prune.minibatch.kafka_clients import no_answer, producer, reason
from stream_prune.minibatch.kafka_topics import BATCHES, COMMITS, DEAD_LETTERS
from stream_prune.minibatch.log import StaleWriter
from stream_prune.minibatch.writer_checks import check_batch, check_commit, check_window

if TYPE_CHECKING:
    import pyarrow as pa
    from kafka import KafkaProducer

    from stream_prune.minibatch.kafka_log import KafkaLog

log = logging.getLogger(__name__)

_PAUSE_S = 0.2


class KafkaLogWriter:
    """Claims the shard's next epoch when made; then writes batches and dead letters, and commits.

    What is written waits in memory for the commit that names it, and goes to the brokers in one
    transaction with it. A transaction whose end nobody has seen (brokers went away, or took too
    long) is settled by the next start of a transactional producer; then the commit sequence says
    whether it counts, and if not, it is sent again.

    Attributes:
        epoch: the claimed epoch.
        last: the shard's last commit, by whatever writer; None before the first.
    """

    epoch: int
    last: Commit | None

    def __init__(self, log: KafkaLog, shard: int) -> None:
        self.shard = shard
        self._log = log
        self._written: dict[BatchName, tuple[BatchRef, bytes]] = {}
        self._states: dict[str, tuple[str, bytes]] = {}
        self._letters: dict[int, list[tuple[bytes, bytes]]] = {}
        self._producer: KafkaProducer | None = None
        self._stale: StaleWriter | None = None
        self._claim()

    def write_batch(self, window_end: int, index: int, batch: pa.RecordBatch) -> BatchRef:
        """Keep batch ``index`` of a window for the commit that names it.

        Args:
            window_end: ms since 1970 (UTC), after every committed window of the shard.
            index: place within the window.
            batch: 1 to ``header.batch_rows`` rows with the log's columns, sorted by
                (event time, partition, offset).

        Raises:
            StaleWriter: a newer writer has been seen.
            RunError: the batch was written before with other rows.
            ValueError: the batch is none of this window's.
        """
        self._require_claim()
        name = BatchName(window_end, self.shard, index)
        check_window(window_end, self.last, self._log.header)
        check_batch(name, batch, self._log.schema, self._log.header)
        data = arrow_file(batch, self._log.schema)
        digest = hashlib.sha256(data).hexdigest()
        ref = BatchRef(index, batch.num_rows, digest, size=len(data))
        if name in self._written and self._written[name][0] != ref:
            raise RunError(
                f"{self._log.at}: batch {name}: same name, other content: run with the "
                "configuration and the input of the run before, or into a new log"
            )
        self._written[name] = ref, data
        return ref

    def write_state(self, name: str, data: bytes) -> tuple[str, str]:
        """Keep an Arrow file that a restart needs, for the commit that names it.

        Returns:
            What the commit calls it (the log adds the place), and its SHA-256 (hex).

        Raises:
            StaleWriter: a newer writer has been seen.
        """
        self._require_claim()
        digest = hashlib.sha256(data).hexdigest()
        self._states[name] = digest, data
        return name, digest

    def keep_states(self, names: Iterable[str]) -> None:
        """Nothing: single messages of a topic can't be removed."""

    def forget_states(self, names: Iterable[str]) -> None:
        """Nothing: single messages of a topic can't be removed."""

    def write_dead_letters(self, window_end: int, letters: Iterable[Mapping[str, Any]]) -> None:
        """Keep what can't be learned from, for the commit of ``window_end``.

        Each letter becomes a JSON message, keyed by its position, in the transaction of the commit.
        Called at most once for a window. Arguments: as for a folder log's writer.

        Raises:
            StaleWriter: a newer writer has been seen.
            ValueError: the window is committed, or had its letters before.
        """
        self._require_claim()
        check_window(window_end, self.last, self._log.header)
        made = _messages(letters)
        if not made:
            return
        if window_end in self._letters:
            raise ValueError(f"the letters of window {window_end} were written before")
        self._letters[window_end] = made

    def leave_dead_letters(self, letters: Iterable[Mapping[str, Any]]) -> None:
        """Show letters that no commit will name, because the job stops.

        The next run writes them again, under the same keys.

        Raises:
            StaleWriter: a newer writer has claimed the shard.
            RunError: the brokers refuse, or do not answer.
        """
        self._require_claim()
        self._until_settled(lambda: self._send_letters(_messages(letters)))

    def commit(self, commits: Sequence[Commit]) -> None:
        """Close windows for good, in order and in one transaction.

        What was written since the call before and is named by none of the commits is dropped.

        Raises:
            StaleWriter: a newer writer has claimed the shard; nothing of this call is in the log.
            RunError: the brokers refuse, or do not answer.
            ValueError: the commits do not continue this shard's sequence.
        """
        self._require_claim()
        self._check_commits(commits)
        if not commits:
            return
        try:
            self._until_settled(lambda: self._send(commits))
        finally:
            self._written.clear()
            self._states.clear()
            self._letters.clear()

    def close(self) -> None:
        """Let go of the connection."""
        if self._producer is not None:
            self._producer.close(timeout=1)
            self._producer = None

    def _check_commits(self, commits: Sequence[Commit]) -> None:
        claim, header = Claim(self.epoch), self._log.header
        for last, commit in zip([self.last, *commits], commits, strict=False):
            check_commit(commit, last, shard=self.shard, claim=claim, header=header)
            for index, ref in enumerate(commit.batches):
                name = BatchName(commit.window_end, commit.shard, ref.index)
                if ref.index != index or self._written.get(name, (None,))[0] != ref:
                    raise ValueError(f"batch {name} was not written as {ref}")
            for state, digest in commit.state:
                if self._states.get(state, ("",))[0] != digest:
                    raise ValueError(f"state {state} was not written with the digest {digest}")

    def _send(self, commits: Sequence[Commit]) -> None:
        """One transaction: batches and letters, then the records that say where batches lie."""
        if self.last is not None and self.last.window_end >= commits[-1].window_end:
            return  # a transaction that seemed to have failed had not
        sender = self._open()
        names = [
            BatchName(c.window_end, self.shard, ref.index) for c in commits for ref in c.batches
        ]
        sender.begin_transaction()
        futures = {
            name: self._put(BATCHES, self._written[name][1], headers=[("name", str(name).encode())])
            for name in names
        }
        states = {
            name: self._put(BATCHES, self._states[name][1], headers=[("name", name.encode())])
            for commit in commits
            for name, _ in commit.state
        }
        for commit in commits:
            for key, letter in self._letters.get(commit.window_end, ()):
                self._put(DEAD_LETTERS, letter, key=key)
        sender.flush(timeout=self._log.at.patience_s)
        at = {name: int(future.get(timeout=0).offset) for name, future in futures.items()}
        kept = {name: int(future.get(timeout=0).offset) for name, future in states.items()}
        placed = [_placed(commit, at, kept) for commit in commits]
        records = [self._put(COMMITS, commit.to_json().encode()) for commit in placed]
        sender.commit_transaction()
        self._log.wait_until_seen(self.shard, int(records[-1].get(timeout=0).offset))
        self.last = placed[-1]

    def _send_letters(self, letters: Sequence[tuple[bytes, bytes]]) -> None:
        sender = self._open()
        sender.begin_transaction()
        for key, letter in letters:
            self._put(DEAD_LETTERS, letter, key=key)
        sender.commit_transaction()

    def _put(self, topic: str, value: bytes, **more: Any) -> Any:
        assert self._producer is not None
        key = {"key": str(self.shard).encode()} | more
        name = self._log.at.topic + topic
        return self._producer.send(name, value=value, partition=self.shard, **key)

    def _until_settled(self, send: Any) -> None:
        """Send a transaction, again if need be, until it is known to count."""
        deadline = time.monotonic() + self._log.at.patience_s
        while True:
            try:
                send()
                return
            except MessageSizeTooLargeError as error:
                self._drop()
                raise RunError(
                    f"{self._log.at}: a batch is larger than its topic takes: {reason(error)}: "
                    "make windows.batch_rows smaller"
                ) from error
            except AuthorizationError as error:
                self._drop()
                raise RunError(f"{self._log.at}: {reason(error)}") from error
            except KafkaError as error:
                self._drop()
                if time.monotonic() > deadline:
                    raise no_answer(self._log.at, error) from error
                log.warning(
                    "%s: shard %d: %s: trying again", self._log.at, self.shard, reason(error)
                )
            time.sleep(_PAUSE_S)
            self._settle(deadline)

    def _settle(self, deadline: float) -> None:
        """After a failure: is the claim still held, and what of it has been committed?

        Looks before it starts a producer, which would fence off a successor in the middle of its
        work, and again after, when the outcome of the last transaction is known.
        """
        self._look()
        while self._producer is None:
            try:
                self._open()
            except (KafkaError, RunError) as error:
                if time.monotonic() > deadline:
                    raise no_answer(self._log.at, error) from error
                time.sleep(_PAUSE_S)
        self._look()

    def _look(self) -> None:
        newest, self.last = self._log.last(self.shard)
        if newest > self.epoch:
            self._drop()
            self._stale = StaleWriter(
                f"{self._log.at}: shard {self.shard}: a newer writer (epoch {newest}) has claimed "
                f"it since this one (epoch {self.epoch}) started: nothing more is written; let "
                "only one job write a shard"
            )
            raise self._stale

    def _require_claim(self) -> None:
        if self._stale is not None:
            raise self._stale

    def _open(self) -> KafkaProducer:
        """The producer, started if there is none: whoever has this shard's id is fenced off."""
        if self._producer is None:
            made = producer(self._log.at, f"stream-prune/{self._log.at.topic}/{self.shard}")
            try:
                made.init_transactions()
            except BaseException:
                made.close(timeout=0)
                raise
            self._producer = made
        return self._producer

    def _drop(self) -> None:
        """Give up the producer with all that it has not sent."""
        if self._producer is not None:
            made, self._producer = self._producer, None
            try:
                made.close(timeout=0)
            except KafkaError:  # it still waits for answers; its thread would go on doing so
                made._sender.force_close()

    def _claim(self) -> None:
        deadline = time.monotonic() + self._log.at.patience_s
        while True:
            try:
                sender = self._open()
                newest, self.last = self._log.last(self.shard)
                self.epoch = newest + 1
                sender.begin_transaction()
                record = self._put(COMMITS, Claim(self.epoch).to_json().encode())
                sender.commit_transaction()
                self._log.wait_until_seen(self.shard, int(record.get(timeout=0).offset))
                return
            except AuthorizationError as error:
                raise RunError(f"{self._log.at}: {reason(error)}") from error
            except KafkaError as error:  # brokers away, or another writer starts at this moment
                self._drop()
                if time.monotonic() > deadline:
                    raise no_answer(self._log.at, error) from error
            time.sleep(random.uniform(0, _PAUSE_S))


def _placed(commit: Commit, at: Mapping[BatchName, int], kept: Mapping[str, int]) -> Commit:
    """The commit with the offset of each of its batches, and of its state after an ``@``."""
    refs = (
        replace(ref, position=at[BatchName(commit.window_end, commit.shard, ref.index)])
        for ref in commit.batches
    )
    state = tuple((f"{name}@{kept[name]}", digest) for name, digest in commit.state)
    return replace(commit, batches=tuple(refs), state=state)


def _messages(letters: Iterable[Mapping[str, Any]]) -> list[tuple[bytes, bytes]]:
    """Key and value of each letter, sorted by position."""
    position = ("source", "partition", "offset")
    ordered = sorted(letters, key=lambda letter: tuple(letter[part] for part in position))
    return [
        ("/".join(str(letter[part]) for part in position).encode(), json.dumps({**letter}).encode())
        for letter in ordered
    ]
