"""A streaming job in a thread, and messages for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from kafka import KafkaProducer
from streams import kept

from beam_jobs.local_kafka import LocalKafka
from beam_jobs.stream import stream
from beam_jobs.stream_job import Epoch
from beam_jobs.stream_options import StreamOptions


def send(broker: LocalKafka, topic: str, partition: int, times: list[int], **more: int) -> None:
    """A click for each event time (ms), to one partition."""
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for time_ms in times:
        value = (
            f'{{"time": {time_ms}, "clicked": 1, "price": 1, "user": "u", "hour": 3, '
            f'"id": "{partition}-{time_ms}"}}'
        )
        producer.send(topic, value=value.encode(), partition=partition, **more)
    producer.close()


class Running:
    """A job in a thread; ``until`` waits for what it commits."""

    def __init__(
        self,
        given: StreamOptions,
        progress: Callable[[Epoch], None] = lambda _: None,
    ) -> None:
        self._progress = progress
        self.given, self.error = given, list[BaseException]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            stream(self.given, stop=self._stop.is_set, progress=self._progress)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error.append(error)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def until(self, rows: int, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.error:
            if (self.given.log / "log.json").exists() and len(kept(self.given.log)) >= rows:
                return
            time.sleep(0.05)
        raise AssertionError(self.error or "nothing came")

    def fails(self, seconds: float = 60) -> BaseException:
        self._thread.join(seconds)
        return self.error[0]
