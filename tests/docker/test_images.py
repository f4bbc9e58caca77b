"""Images and compose file: linted, valid, and made of what the tests run as plain processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from stream_prune.cli.config import load
from stream_prune.cli.demo.loop import Loop, Places
from stream_prune.cli.demo.processes import Processes

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
OWN = [path for path in DOCKERFILES if path.stem != "mlflow"]
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(lines: list[str]) -> set[str]:
    """Package names as package indexes write them."""
    found = (re.split(r"[<>=!~;\[ ]", line)[0] for line in lines if line and line[0] != "#")
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def instruction(path: Path, name: str) -> list[str]:
    text = path.read_text().replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in text.splitlines() if line.startswith(name)]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_passes_the_linter(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_pinned_not_root_checked_and_told_to_stop(path: Path) -> None:
    for base in instruction(path, "FROM"):
        assert re.match(r"python:3\.11\.\d+-slim-bookworm", base), base
    assert instruction(path, "USER")[-1] == "10001"
    assert instruction(path, "HEALTHCHECK")
    assert instruction(path, "STOPSIGNAL")[0] in ("SIGTERM", "SIGINT")
    for kind in ("ENTRYPOINT", "CMD"):  # the program itself is the first process: it hears signals
        assert json.loads(instruction(path, kind)[0])


def test_the_compose_file_is_valid() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    schema = ["--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([check, *schema, DOCKER / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_stands_in_the_compose_file() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    assert re.findall(r"PASSWORD[^\n]*", text) == [
        "PASSWORD=... docker compose -f docker/compose.yaml up --build",
        "PASSWORD: ${POSTGRES_PASSWORD:?choose one}",
        "PASSWORD:?choose one}@postgres/mlflow",
    ]


@pytest.mark.parametrize("name", ["stream", "serving", "trainer"])
def test_an_image_holds_packages_of_the_project_at_pinned_versions(name: str) -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    known = names(
        [
            *PROJECT["project"]["dependencies"],
            *(d for extra in ("stream", "mlflow", "serve", "confluent") for d in extras[extra]),
            *("setuptools", "numpy"),
        ]
    )
    wanted = names((DOCKER / f"{name}.txt").read_text().splitlines())
    assert wanted <= known
    assert wanted <= names((ROOT / "constraints.txt").read_text().splitlines())


def parsed(command: list[str]) -> tuple[str, set[str], set[str]]:
    """Subcommand, names of options, names of keys that are set."""
    options = {word for word in command if word.startswith("--")}
    plain = {option.partition("=")[0] for option in options}
    pairs = zip(command, [*command[1:], ""], strict=True)
    values = [b for a, b in pairs if a == "--set"]
    values += [option.removeprefix("--set=") for option in options if option.startswith("--set=")]
    return command[0], plain, {value.partition("=")[0] for value in values}


@pytest.fixture
def demo(tmp_path: Path) -> dict[str, list[str]]:
    """The commands that the test of the demonstration starts, without the program's name."""
    places = Places(tmp_path, "b:1", "http://m:2", "http://s:3", "flights", "champion")
    changes = ["publish.every_windows=100"]
    loop = Loop(Processes(tmp_path), places, Path("configs/stream.yaml"), changes)
    return {name: command[1:] for name, command in loop.commands().items()}


@pytest.mark.parametrize("service", ["stream", "produce", "train", "serve"])
def test_a_service_runs_the_command_that_the_tests_start(
    service: str, demo: dict[str, list[str]]
) -> None:
    name, options, keys = parsed(COMPOSE["services"][service]["command"])
    started, known_options, known_keys = parsed(demo[service])
    assert name == started == service
    assert options <= known_options
    assert keys <= known_keys
    if service != "serve":
        assert COMPOSE["services"][service]["command"][1] == demo[service][1]
    else:
        assert COMPOSE["services"][service]["command"][1] == "models:/flights@champion"


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_an_image_runs_such_a_command_by_itself(path: Path, demo: dict[str, list[str]]) -> None:
    name, options, keys = parsed(json.loads(instruction(path, "CMD")[0]))
    assert json.loads(instruction(path, "ENTRYPOINT")[0]) == ["stream-prune"]
    assert options <= parsed(demo[name])[1]
    assert keys <= {"device"}


def test_the_topic_that_is_made_is_the_one_that_is_read() -> None:
    source = load(ROOT / "configs" / "stream.yaml").source
    assert source is not None
    assert source.kafka is not None
    assert f"--topic={source.kafka.topics[0]}" in COMPOSE["services"]["topic"]["command"]


@pytest.mark.parametrize(
    ("name", "rooms"),
    [
        ("stream", "beam_jobs.stream beam_jobs.produce.play beam_jobs.confluent_reader"),
        ("serving", "serving.app serving.server stream_prune.registry.download"),
    ],
)
def test_an_image_lacks_nothing_that_its_command_imports(name: str, rooms: str) -> None:
    lists = names((DOCKER / f"{name}.txt").read_text().splitlines())
    others = names((DOCKER / "trainer.txt").read_text().splitlines()) - lists
    assert {"torch", "torch-pruning", "plotly", "river"} <= others
    program = f"""
import importlib, sys
absent = {sorted(other.replace("-", "_") for other in others)}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError("not in the image", name=name)
sys.meta_path.insert(0, Absent())
for room in {rooms.split()}:
    importlib.import_module(room)
from pathlib import Path
if {name == "stream"}:
    from stream_prune.cli import produce, stream, stream_config
    stream.stream_options(stream_config.load(Path("configs/stream.yaml")))
else:
    from stream_prune.cli import serve, serving_config
    serving_config.load(None, ())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
