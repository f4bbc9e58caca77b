"""Servers of the same model: this project's, MLflow's and MLServer, each in its own process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from peers import Peer, interpreter

from serve_models.artifacts import NAME
from serve_models.load import request
from stream_prune.artifact import Scorer
from stream_prune.registry.package import package

MLSERVER = Peer(
    "mlserver",
    (
        "mlserver==1.7.1",
        "onnx",
        "onnxruntime",
        "pyarrow",
        "safetensors",
        "xxhash",
        "pyyaml",
        "numba",
    ),
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_RUNTIME = Path(__file__).with_name("mlserver_runtime.py")
_ECHO = Path(__file__).with_name("echo.py")


@contextmanager
def ours(*arguments: object) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """`stream-prune serve` on a free port: the port and the process."""
    program = Path(sys.executable).with_name("stream-prune")
    command = [program, "serve", *map(str, arguments), "--port", "0"]
    with _running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        if " at http" not in said:
            sys.exit(f"{' '.join(map(str, command))}\n{said}")
        yield int(said.rpartition(" at ")[2].split()[0].rpartition(":")[2]), process


@contextmanager
def nothing() -> Iterator[int]:
    """A server that only echoes, on the same stack: the port."""
    with _running([sys.executable, _ECHO], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().rpartition(":")[2])


@contextmanager
def mlflow(artifact: Path, folder: Path) -> Iterator[int]:
    """`mlflow models serve` with the artifact as an MLflow model, as publishing makes it."""
    model, port = folder / "mlflow_model", _free_port()
    package(Scorer.load(artifact), model, artifact)
    program = Path(sys.executable).with_name("mlflow")
    command = [program, "models", "serve", "-m", model, "--env-manager", "local"]
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}  # where it looks for its own server
    with _running([*command, "-h", "127.0.0.1", "-p", str(port)], env=path) as process:
        _wait(port, "/ping", process)
        yield port


@contextmanager
def mlserver(artifact: Path, folder: Path) -> Iterator[int]:
    """MLServer in an environment of its own, with a runtime that calls the artifact's scorer."""
    python, port, home = interpreter(MLSERVER), _free_port(), folder / "mlserver"
    home.mkdir()
    (home / "runtime.py").write_text(_RUNTIME.read_text())
    # In one process: for a model this fast its inference workers only add a hop.
    settings = {"host": "127.0.0.1", "http_port": port, "parallel_workers": 0, "debug": False}
    settings |= {"grpc_port": _free_port(), "metrics_port": _free_port()}
    (home / "settings.json").write_text(json.dumps(settings))
    model = {"name": NAME, "implementation": "runtime.Runtime"}
    model["parameters"] = {"uri": str(artifact.resolve())}  # type: ignore[assignment]
    (home / "model-settings.json").write_text(json.dumps(model))
    root = str(Path(__file__).parents[2])
    command = [python.parent / "mlserver", "start", home]
    with _running(command, env={"PYTHONPATH": f"{home}:{root}"}) as process:
        _wait(port, f"/v2/models/{NAME}/ready", process)
        yield port


def v2_requests(rows: pa.Table) -> list[bytes]:
    """One request of the v2 protocol a row, every column a tensor."""
    found = []
    for row in rows.to_pylist():
        inputs = [
            {
                "name": name,
                "shape": [1],
                "datatype": "INT64" if isinstance(value, int) else "FP64",
                "data": [value],
            }
            for name, value in row.items()
        ]
        body = json.dumps({"inputs": inputs}).encode()
        found.append(request(f"/v2/models/{NAME}/infer", body))
    return found


def frame_requests(rows: pa.Table) -> list[bytes]:
    """One request of MLflow's protocol a row."""
    return [
        request(
            "/invocations",
            json.dumps(
                {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
            ).encode(),
        )
        for row in rows.to_pylist()
    ]


@contextmanager
def _running(
    command: Sequence[object],
    stdout: int = subprocess.DEVNULL,
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, **ONE_THREAD, **(env or {})},
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(process.pid, 15)  # workers of its own go with it
        process.wait(60)


def _wait(port: int, path: str, process: subprocess.Popen[str]) -> None:
    import urllib.request

    deadline = time.monotonic() + 240
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{process.args}: does not answer")
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
