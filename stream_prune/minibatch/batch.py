"""A mini-batch: its name, its columns in the log, and the arrays a model is fed with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_prune.features import (
    EVENT_KEY,
    EVENT_TIME,
    LABEL,
    MISSING_ID,
    OFFSET,
    PARTITION,
    SERVED_SCORE,
    Categorical,
    FeatureSpec,
)


@dataclass(frozen=True, order=True)
class BatchName:
    """Which batch of the log: end of its window (ms, UTC), shard, place within the window."""

    window_end: int
    shard: int
    index: int

    def __str__(self) -> str:
        return f"{self.window_end}-{self.shard}-{self.index}"


def schema(spec: FeatureSpec) -> pa.Schema:
    """The columns of a batch in the log: what ``encode`` returns, then partition and offset."""
    others = [] if spec.event_key is None else [(EVENT_KEY, pa.int64())]
    others += [] if spec.served_score is None else [(SERVED_SCORE, pa.float32())]
    return pa.schema(
        [
            *((c.name, pa.float32()) for c in spec.dense),
            *((c.name, pa.list_(pa.int64()) if c.multi else pa.int64()) for c in spec.categorical),
            (EVENT_TIME, pa.int64()),
            (LABEL, pa.float32()),
            *others,
            (PARTITION, pa.int32()),
            (OFFSET, pa.int64()),
        ]
    )


@dataclass(frozen=True)
class MiniBatch:
    """The rows of one batch as arrays, B rows, N dense features, F categorical features.

    Attributes:
        name: where the batch lies in the log.
        event_time: int64 [B], ms since 1970 (UTC), ascending.
        dense: float32 [B, N].
        ids: int64, feature-major: every id of feature 0 row by row, then of feature 1, ...;
            [F * B] when ``offsets`` is None.
        offsets: int64 [F * B + 1], the bag of feature f and row b is
            ``ids[offsets[f * B + b] : offsets[f * B + b + 1]]``; None: one id in every bag.
        label: float32 [B], 0 or 1, NaN for unlabelled rows.
        served: float32 [B], the probabilities that were served, NaN where none was; None: the
            specification names no column for them.
    """

    name: BatchName
    event_time: npt.NDArray[np.int64]
    dense: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64] | None
    label: npt.NDArray[np.float32]
    served: npt.NDArray[np.float32] | None = None

    @property
    def rows(self) -> int:
        """B."""
        return len(self.label)

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """bool [B]: the rows that have a label."""
        return ~np.isnan(self.label)

    def first_ids(self) -> npt.NDArray[np.int64]:
        """The first id of every bag, [F, B]; of an empty one the id of a missing category."""
        if self.offsets is None:
            return self.ids.reshape(-1, self.rows)
        starts, empty = self.offsets[:-1], np.diff(self.offsets) == 0
        padded = np.append(self.ids, MISSING_ID)
        return np.where(empty, MISSING_ID, padded[starts]).reshape(-1, self.rows)

    def take(self, mask: npt.NDArray[np.bool_]) -> MiniBatch:
        """The rows where ``mask`` (bool [B]) holds, in their order; itself if it holds everywhere.

        >>> batch = MiniBatch(BatchName(1, 0, 0), np.array([5, 6]), np.zeros((2, 0), np.float32),
        ...                   np.array([10, 11, 20, 21]), None, np.array([0, 1], np.float32))
        >>> batch.take(np.array([False, True])).ids.tolist()
        [11, 21]
        """
        if mask.all():
            return self
        features = (len(self.ids) if self.offsets is None else len(self.offsets) - 1) // self.rows
        bags = np.tile(mask, features)
        if self.offsets is None:
            ids, offsets = self.ids[bags], None
        else:
            lengths = np.diff(self.offsets)
            ids, offsets = self.ids[np.repeat(bags, lengths)], _offsets(lengths[bags])
        return replace(
            self,
            event_time=self.event_time[mask],
            dense=self.dense[mask],
            ids=ids,
            offsets=offsets,
            label=self.label[mask],
            served=None if self.served is None else self.served[mask],
        )

    @classmethod
    def from_arrow(cls, spec: FeatureSpec, name: BatchName, batch: pa.RecordBatch) -> MiniBatch:
        """The arrays of a record batch that has the columns of :func:`schema`.

        They are copies: writable, and independent of a file that is mapped.
        """
        dense = np.empty((batch.num_rows, len(spec.dense)), np.float32)
        for i, column in enumerate(spec.dense):
            dense[:, i] = batch.column(column.name).to_numpy()
        bags = [_bags(c, batch.column(c.name)) for c in spec.categorical]
        single = not any(c.multi for c in spec.categorical)
        served = None
        if spec.served_score is not None:
            served = batch.column(SERVED_SCORE).to_numpy(zero_copy_only=False).copy()
        return cls(
            name=name,
            event_time=batch.column(EVENT_TIME).to_numpy().copy(),
            dense=dense,
            ids=np.concatenate([ids for ids, _ in bags]),
            offsets=None if single else _offsets(np.concatenate([n for _, n in bags])),
            label=batch.column(LABEL).to_numpy(zero_copy_only=False).copy(),
            served=served,
        )


def _bags(
    column: Categorical, values: pa.Array
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The ids of a column and how many each row has [B]."""
    if not column.multi:
        return values.to_numpy(), np.ones(len(values), np.int64)
    return values.flatten().to_numpy(), np.diff(values.offsets.to_numpy()).astype(np.int64)


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
