"""Keeps the slot's model the one that its source names: looks by the clock, and when told to."""

from __future__ import annotations

import logging
import threading
import time

from serving.config import Following
from serving.model_slot import ModelSlot, Served
from serving.source import Source
from stream_prune.errors import RunError

_log = logging.getLogger(__name__)


class Follower:
    """Looks at a source and loads what it names into a slot.

    A version that can't be fetched whole, or fails its checks, is left alone until the source names
    another one, ``retry_s`` have passed or somebody asks for it. A version that was rolled back
    from is left alone until the source names another one or somebody asks for it.

    Args:
        slot: takes the models.
        source: names and fetches them.
        config: how often to look.
    """

    def __init__(self, slot: ModelSlot, source: Source, config: Following) -> None:
        self.slot, self._source, self._config = slot, source, config
        self._refused: tuple[str, float] | None = None
        self._left: str | None = None
        self._looking = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)

    def start(self) -> None:
        """Look by the clock from now on."""
        if self._config.every_s:
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self._source.close()

    def look(self, told: bool = True) -> Served:
        """Look now, and serve what the source names if that is another version.

        Args:
            told: by somebody: try again what was refused, come back to what was rolled back from.

        Returns:
            The version that answers from now on.

        Raises:
            RunError: the source doesn't answer, or what it names can't be served.
        """
        with self._looking:
            try:
                version = self._source.latest()
            except RunError:
                self.slot.metrics.look_failures.inc()
                raise
            self.slot.metrics.looked_at.set_to_current_time()
            live = self.slot.live
            if live is not None:
                if live.version == version:
                    self._refused = self._left = None
                    self.slot.metrics.rejected.set(0)
                    return live
                if not told and (version == self._left or self._recently_refused(version)):
                    return live
            return self._load(version)

    def roll_back(self) -> Served:
        """Serve the version before the live one again, and stay there.

        Raises:
            RunError: there is none.
        """
        with self._looking:
            left = self.slot.live
            served = self.slot.roll_back()
            self._left = None if left is None else left.version
            return served

    def _load(self, version: str) -> Served:
        held = self.slot.version(version)
        if held is not None and held is self.slot.previous:  # the alias went back to it
            return self.slot.roll_back()
        try:
            with self.slot.refusing():
                folder = self._source.fetch(version)
            served = self.slot.load(folder, version)
        except Exception:
            self._refused = version, time.monotonic()
            raise
        self._refused = self._left = None
        self._source.forget(set(self.slot.versions))
        return served

    def _recently_refused(self, version: str) -> bool:
        if self._refused is None or self._refused[0] != version:
            return False
        return time.monotonic() - self._refused[1] < self._config.retry_s

    def _run(self) -> None:
        while not self._stopped.wait(self._config.every_s):
            before = self.slot.live
            try:
                served = self.look(told=False)
            except RunError as error:
                still = "none" if before is None else before.version
                _log.error("%s; version %s goes on", error, still)
            except Exception:  # noqa: BLE001 - one broken look must not be the last
                _log.exception("looking for a new version of %s failed", self.slot.name)
            else:
                if served is not before:
                    _log.warning("%s: version %s answers now", self.slot.name, served.version)
