"""The report as a page that stays open beside running jobs: a small HTTP server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stream_prune.errors import ConfigError, RunError
from stream_prune.report.page import render
from stream_prune.report.run import SERVING, Run, read_run
from stream_prune.training.run_folder import JOURNAL, SUMMARY

REFRESH_MS = 2_000
HOST = "127.0.0.1"


def follow(
    folders: Sequence[Path], *, title: str, port: int = 0, ready: Callable[[str], None]
) -> None:
    """Serve the report on ``folders``, also on ones that hold no run yet, until interrupted.

    Args:
        folders: run folders.
        title: of the page.
        port: 0 takes one that is free.
        ready: called with the address.

    Raises:
        RunError: the port is taken.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), _handler(folders, title))
    except OSError as error:
        raise RunError(
            f"port {port}: {error.strerror}: name another one with --port, or 0"
        ) from None
    with server:
        ready(f"http://{HOST}:{server.server_port}/")
        server.serve_forever(poll_interval=0.2)


def _handler(folders: Sequence[Path], title: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """``/`` is the page; ``/news`` the same without its scripts, if anything has changed."""

        def do_GET(self) -> None:
            if self.path not in ("/", "/news"):
                self._answer(404, "nothing here: the report is at /", "")
                return
            state = _state(folders)
            if self.path == "/news" and self.headers.get("If-None-Match") == state:
                self.send_response(304)
                self.end_headers()
                return
            try:
                page = render(
                    _runs(folders),
                    title=title,
                    refresh_ms=REFRESH_MS,
                    with_scripts=self.path == "/",
                )
            except (ConfigError, RunError) as error:
                self._answer(503, str(error), "")
                return
            self._answer(200, page, state)

        def _answer(self, status: int, text: str, tag: str) -> None:
            body = text.encode()
            self.send_response(status)
            kind = "text/html" if status == 200 else "text/plain"
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            if tag:
                self.send_header("ETag", tag)
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing: a line every two seconds helps nobody."""

    return Handler


def _runs(folders: Sequence[Path]) -> list[Run]:
    """The runs that have begun."""
    return [read_run(folder) for folder in folders if (folder / JOURNAL).is_file()]


def _state(folders: Sequence[Path]) -> str:
    """Changes when a run's files do."""
    parts = []
    for folder in folders:
        for name in (JOURNAL, SUMMARY, SERVING):
            try:
                found = (folder / name).stat()
            except OSError:
                continue
            parts.append(f"{name}{found.st_size}.{found.st_mtime_ns}")
    return '"' + "-".join(parts) + '"'
