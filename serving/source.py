"""Where versions of a model come from: an alias in a registry, or a folder."""

from __future__ import annotations

import json
import selectors
import shutil
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from stream_prune.artifact import read_manifest
from stream_prune.errors import RunError
from stream_prune.registry import watch
from stream_prune.registry.config import RegistryConfig


class Source(Protocol):
    """What a follower looks at."""

    def latest(self) -> str:
        """The version that should be served now; RunError where that can't be said."""

    def fetch(self, version: str) -> Path:
        """Its artifact's folder, on this machine; RunError where it can't be had whole."""

    def forget(self, kept: set[str]) -> None:
        """Remove what was fetched of versions that nobody needs any more."""

    def close(self) -> None:
        """No more questions."""


class FolderSource:
    """An artifact folder, or a link to one that may be pointed elsewhere: its digest is a version.

    Args:
        folder: of the artifact.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def latest(self) -> str:
        return read_manifest(self._folder).digest[:12]

    def fetch(self, version: str) -> Path:
        folder = self._folder.resolve()
        if read_manifest(folder).digest[:12] != version:
            raise RunError(f"{self._folder}: changed while it was being read")
        return folder

    def forget(self, kept: set[str]) -> None:
        del kept  # nothing was copied

    def close(self) -> None:
        return None


class RegistrySource:
    """An alias of a registered model, asked for through a process of its own.

    Args:
        config: names registry, model and alias.
        cache: holds one folder a model and version.
        timeout_s: for one answer; a process that takes longer is ended, and started anew.
    """

    def __init__(self, config: RegistryConfig, cache: Path, timeout_s: float) -> None:
        self._config, self._cache, self._timeout_s = config, cache, timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()

    def latest(self) -> str:
        return str(self._ask({"look": self._config.alias}, "version"))

    def fetch(self, version: str) -> Path:
        return Path(self._ask({"fetch": version}, "folder"))

    def forget(self, kept: set[str]) -> None:
        for folder in (self._cache / self._config.model).glob("[0-9]*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):  # its input may hold a question that it never read
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def _ask(self, question: dict[str, str], wanted: str) -> Any:
        with self._asking:
            try:
                answer = json.loads(self._exchange(json.dumps(question)))
            except (OSError, ValueError) as error:
                self.close()
                raise RunError(
                    f"{self._config.tracking_uri}: {next(iter(question))} of model "
                    f"{self._config.model!r}: the process that asks failed: {error}"
                ) from None
        if "error" in answer:
            raise RunError(answer["error"])
        return answer[wanted]

    def _exchange(self, question: str) -> str:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                watch.COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            question = f"{watch.settings(self._config, self._cache)}\n{question}"
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(question + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            if not ready.select(self._timeout_s):
                process.kill()
                raise OSError(f"no answer in {self._timeout_s:g} s")
        return process.stdout.readline()
