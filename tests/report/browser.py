"""A headless Chromium, driven over its debugging pipe: enough to click, read, and hear errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WAIT_S = 60.0


class Browser:
    """One page in a browser of its own; use it as a context.

    Attributes:
        said: what the page wrote to its console, and its uncaught errors.
    """

    def __init__(self, profile: Path, address: str, *, width: int = 1280, dark: bool = False):
        self.said: list[str] = []
        self._last = 0
        self._buffer = b""
        their_in, self._out = os.pipe()
        self._in, their_out = os.pipe()
        assert CHROMIUM is not None
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        command += [f"--window-size={width},900"]
        command += ["--blink-settings=preferredColorScheme=0"] if dark else []

        def place() -> None:  # Chromium reads file 3 and writes file 4
            ends = os.dup(their_in), os.dup(their_out)
            for file, end in zip((3, 4), ends, strict=True):
                os.dup2(end, file)

        self._process = subprocess.Popen(
            command, close_fds=False, preexec_fn=place, stderr=subprocess.DEVNULL
        )
        os.close(their_in)
        os.close(their_out)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")
        if width < 600:
            size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
            self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=address)
        self.wait("document.documentElement?.dataset.drawn !== undefined")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the debugging protocol; what the page says meanwhile is kept."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self._hear(answer)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, a promise's when it is kept."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + WAIT_S
        while not self.value(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """A real click of the mouse into the middle of an element."""
        place = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, *place)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """A mouse event at a place of the window."""
        pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 16)
            assert part, "Chromium has ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))

    def _hear(self, event: dict[str, Any]) -> None:
        if event.get("method") in (
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
        ):
            self.said.append(json.dumps(event["params"]))

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
