"""The ways of reading the topic that are compared: clients alone, a bare loop, the Beam job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from beam_jobs.decode import decode
from beam_jobs.epoch_results import Wording, add_epoch
from beam_jobs.sink import LogSink
from beam_jobs.stream import create_log, stream
from beam_jobs.stream_job import Epoch
from beam_jobs.stream_options import StreamOptions
from beam_jobs.stream_start import start_reading
from beam_jobs.topic_reader import open_reader
from beam_jobs.topic_source import Poll, read, without_collections
from beam_jobs.validate import validate
from beam_jobs.window_buffer import WindowBuffer
from beam_jobs.windows import assign


@dataclass
class Cost:
    """What a way took for so many events: seconds of the clock, of the processor, and by stage."""

    events: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    stages: Counter[str] = field(default_factory=Counter)

    @property
    def per_cpu_second(self) -> float:
        return self.events / self.cpu

    @property
    def per_second(self) -> float:
        return self.events / self.wall


class Watch:
    """Adds up the time between ``start`` and ``stop``; the first stretch is for warming up."""

    def __init__(self) -> None:
        self.cost = Cost()
        self._warm = False
        self.restart()

    def restart(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, events: int) -> None:
        if self._warm:
            self.cost.events += events
            self.cost.wall += time.perf_counter() - self._wall
            self.cost.cpu += time.process_time() - self._cpu
        else:
            self.cost.stages.clear()
        self._warm = True
        self.restart()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.cost.stages[name] += time.process_time() - started


def client_alone(options: StreamOptions) -> Cost:
    """The client's own calls and nothing else: records are counted and dropped."""
    return _polling(options, lambda reader, poll: sum(map(len, _polled(reader, poll))))


def client_without_collections(options: StreamOptions) -> Cost:
    """The same without Python's garbage collection meanwhile, as in the job."""

    def epoch(reader, poll):
        with without_collections():
            return sum(map(len, _polled(reader, poll)))

    return _polling(options, epoch)


def _polled(reader, poll):
    left = poll.records
    while left > 0 and any(reader.position(n) < end for n, end in poll.ends.items()):
        found = reader.poll(left, 1.0)
        yield from found.values()
        left -= sum(map(len, found.values()))


def as_columns(options: StreamOptions) -> Cost:
    """Records as columns, undecoded: what the job's source does."""

    def epoch(reader, poll):
        with without_collections():
            return sum(chunk.stop - chunk.start for chunk in read(reader, poll))

    return _polling(options, epoch)


def _polling(options: StreamOptions, epoch: Callable) -> Cost:
    with closing(open_reader(options.kafka)) as reader:
        names = reader.partitions()
        ends = {n: end for n, (_, end) in reader.bounds(list(names)).items()}
        reader.assign(dict.fromkeys(names, 0))
        watch = Watch()
        while any(reader.position(n) < end for n, end in ends.items()):
            watch.lap(epoch(reader, Poll(options.epoch_rows, 60.0, ends)))
        return watch.cost


def bare_loop(options: StreamOptions) -> Cost:
    """The same functions as in the job, called one after another, without Beam."""
    log = create_log(options)
    with closing(open_reader(options.kafka)) as reader, closing(log.writer(0)) as writer:
        buffer = WindowBuffer(
            options.window_ms, options.out_of_orderness_ms, (), options.max_jump_ms
        )
        ends = start_reading(options, reader, log, None, buffer)
        sink = LogSink(writer, log.header, str)
        wording = Wording("its partition", options.spec.event_time, options.max_jump_ms)
        watch = Watch()
        while not buffer.ended:
            ended = frozenset(n for n, p in buffer.partitions.items() if p.ended)
            with watch.stage("read"), without_collections():
                chunks = list(read(reader, Poll(options.epoch_rows, 60.0, ends, ended)))
            with watch.stage("decode"):
                decoded = [decode(chunk, options.spec, options.forms)[0] for chunk in chunks]
            with watch.stage("encode"):
                valid = [validate(options.spec, d, options.max_jump_ms)[0] for d in decoded]
            with watch.stage("split by window"):
                windowed = [assign(v, options.window_ms) for v in valid]
                sink.take(add_epoch({"windowed": windowed}, buffer, wording))
            with watch.stage("sort, cut, write, commit"):
                for _ in sink.commit(buffer.close()):
                    pass
            watch.lap(sum(len(d.offsets) for d in decoded))
        return watch.cost


def beam_job(options: StreamOptions) -> Cost:
    """The job itself, in Beam micro-epochs."""
    watch = Watch()

    def lap(epoch: Epoch) -> None:
        watch.lap(epoch.rows)

    watch.restart()
    stream(options, to_end=True, progress=lap)
    return watch.cost
