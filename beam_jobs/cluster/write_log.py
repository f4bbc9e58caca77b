"""The one writer of a shard as a keyed DoFn: parcels in, commits in the mini-batch log."""

from __future__ import annotations

import logging
import threading
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from beam_jobs.cluster.committer import Committer, Interrupted, ReaderLostError
from beam_jobs.cluster.parcel import Parcel
from beam_jobs.cluster.readings import say_stopped, stopped
from beam_jobs.stream_options import StreamOptions
from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.open_log import open_log

_committers: dict[str, Committer] = {}
"""Of this process, by job: open windows outlive the bundles in which a runner hands them rows."""

_over: set[str] = set()
"""Jobs that have ended: what still comes belongs to nobody."""

_lock = threading.Lock()
_log = logging.getLogger(__name__)


class WriteLog(beam.DoFn):  # type: ignore[misc]
    """(shard, parcel) -> nothing.

    The key makes all parcels of a shard come to one writer. Its state names the reading, for people
    who look into a savepoint; nothing is ever resumed from it.
    """

    READING = ReadModifyWriteStateSpec("reading", VarIntCoder())

    def __init__(self, job: str, options: StreamOptions, to_end: bool) -> None:
        self._job, self._options, self._to_end = job, options, to_end

    def process(
        self,
        element: tuple[int, bytes],
        reading: Any = beam.DoFn.StateParam(READING),  # noqa: B008
    ) -> None:
        parcel = Parcel.decode(element[1])
        with _lock:
            if self._job in _over:
                return
            try:
                committer = _committers.get(self._job)
                if committer is None:
                    if stopped(open_log(self._options.log), self._job) is not None:
                        _over.add(self._job)
                        return
                    committer = _committers[self._job] = self._open()
                    reading.write(committer.reading)
                committer.take(parcel)
            except Interrupted as why:
                _log.warning("%s: begins to read anew: %s", self._options.log, why)
                self._forget()
            except (ConfigError, RunError) as error:
                # Failing would make the runner start it again, for ever; so the job ends instead.
                _log.exception("%s: the job ends", self._options.log)
                self._forget()
                _over.add(self._job)
                again = isinstance(error, ReaderLostError)
                say_stopped(open_log(self._options.log), self._job, str(error), again=again)
            except BaseException:
                self._forget()
                raise

    def _open(self) -> Committer:
        return Committer(self._options, self._job, to_end=self._to_end)

    def _forget(self) -> None:
        committer = _committers.pop(self._job, None)
        if committer is not None:
            committer.close()
