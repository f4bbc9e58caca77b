"""A new SQLite registry appears whole, or not at all."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from stream_prune.errors import RunError
from stream_prune.registry import sqlite_file
from stream_prune.registry.client import connect, step
from stream_prune.registry.config import RegistryConfig

# One process imports MLflow; children of it are killed during the first connection: at the n-th
# time that a migration copies a table (what MLflow can't go on from), and once the file has its
# name.
KILLED = """
import os, signal, sys
from pathlib import Path
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine
from stream_prune.registry.client import connect
from stream_prune.registry.config import RegistryConfig

path, link = Path(sys.argv[1]), os.link

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def killed(arm):
    child = os.fork()
    if child == 0:
        arm()
        connect(RegistryConfig(f"sqlite:///{path}", "m"))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

def at_copy(n, left=[0]):
    def count(connection, cursor, statement, *_):
        left[0] += statement.strip().startswith("INSERT INTO _alembic_tmp_")
        if left[0] == n:
            die()
    event.listen(Engine, "before_cursor_execute", count)

def once_linked(*names):
    link(*names)
    die()

for n in map(int, sys.argv[2:]):
    killed(lambda: at_copy(n))
    assert not path.exists(), n
assert len(list(path.parent.glob(".*.draft.*"))) == 1  # of the last one: each removes the others'
killed(lambda: setattr(os, "link", once_linked))
assert path.exists()
client = connect(RegistryConfig(f"sqlite:///{path}", "m"))
client.create_experiment("usable")
"""


def test_whenever_the_first_connection_is_killed_the_next_one_works(tmp_path):
    path = tmp_path / "new" / "mlflow.db"
    moments = ["1", "3", "6", "10"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), *moments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert connect(RegistryConfig(f"sqlite:///{path}", "m")).get_experiment_by_name("usable")


@pytest.fixture
def quick(monkeypatch, empty_database):
    """Creating tables takes seconds; these tests are about what happens around it."""
    drafts = []

    def copy(uri, draft):
        drafts.append(draft)
        shutil.copy(empty_database, draft)

    monkeypatch.setattr(sqlite_file, "_migrate", copy)
    return drafts


def test_nothing_but_the_database_is_left_beside_it(tmp_path, quick):
    left = tmp_path / ".m.db.draft.killed"
    left.mkdir()
    (left / "m.db").write_text("half")
    other = tmp_path / ".other.db.draft.running"
    other.mkdir()
    sqlite_file.create(f"sqlite:///{tmp_path}/m.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == [other.name, "m.db"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "m.db"

    def overtaken(uri, draft):
        draft.write_text("mine")
        path.write_text("theirs")

    monkeypatch.setattr(sqlite_file, "_migrate", overtaken)
    sqlite_file.create(f"sqlite:///{path}")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_at_once_one_creates_and_the_other_waits(tmp_path, quick, monkeypatch):
    uri, copy, others = f"sqlite:///{tmp_path}/m.db", sqlite_file._migrate, []

    def slow(uri, draft):
        others.append(threading.Thread(target=sqlite_file.create, args=[uri]))
        others[-1].start()
        others[-1].join(0.2)
        assert others[-1].is_alive()
        copy(uri, draft)

    monkeypatch.setattr(sqlite_file, "_migrate", slow)
    sqlite_file.create(uri)
    others[0].join(10)
    assert (len(others), len(quick)) == (1, 1)
    assert list(tmp_path.iterdir()) == [tmp_path / "m.db"]


def test_a_link_to_nowhere_stays_a_link(tmp_path, quick):
    (tmp_path / "m.db").symlink_to(tmp_path / "elsewhere.db")
    sqlite_file.create(f"sqlite:///{tmp_path}/m.db")
    assert (tmp_path / "m.db").is_symlink()
    assert (tmp_path / "elsewhere.db").is_file()


def test_a_creation_that_fails_leaves_no_file_and_the_next_one_works(tmp_path, quick, monkeypatch):
    uri = f"sqlite:///{tmp_path}/m.db"

    def full(uri, draft):
        draft.write_text("half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "_migrate", full)
        with pytest.raises(RunError, match="connecting to MLflow failed: disk full"):
            connect(RegistryConfig(uri, "m"))
    assert not (tmp_path / "m.db").exists()
    connect(RegistryConfig(uri, "m")).create_experiment("usable")


def test_a_registry_of_its_own_file_is_created_as_well(tmp_path, quick):
    config = RegistryConfig(f"sqlite:///{tmp_path}/curves.db", "m")
    connect(replace(config, registry_uri=f"sqlite:///{tmp_path}/models.db"))
    assert [draft.name for draft in quick] == ["curves.db", "models.db"]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sqlite:///runs/mlflow.db", "runs/mlflow.db"),
        ("sqlite:////data/mlflow.db?timeout=5", "/data/mlflow.db"),
        ("sqlite+pysqlite:///m.db", "m.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://host/mlflow", None),
        ("http://host:5000", None),
    ],
)
def test_only_sqlite_files_are_created_here(uri, name):
    found = sqlite_file.database(uri)
    assert (None if found is None else str(found)) == name


def test_a_database_broken_by_an_interruption_is_named_with_the_way_out(tmp_path):
    path = tmp_path / "m.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE latest_metrics (key TEXT)")
        database.execute("CREATE TABLE _alembic_tmp_latest_metrics (key TEXT)")
        database.commit()
    with pytest.raises(RunError, match=r"m\.db was interrupted.*: move the file away"):
        connect(RegistryConfig(f"sqlite:///{path}", "m"))


def test_a_clash_of_names_in_a_whole_database_is_not_called_interrupted(registry_config):
    client = connect(registry_config)
    client.create_experiment("taken")
    with (
        pytest.raises(RunError, match="already exists") as caught,
        step("making an experiment", registry_config),
    ):
        client.create_experiment("taken")
    assert "interrupted" not in str(caught.value)


def test_a_file_that_is_no_database_is_not_called_interrupted(tmp_path):
    path = tmp_path / "m.db"
    path.write_text("nonsense " * 200)
    with pytest.raises(RunError, match="not a database") as caught:
        connect(RegistryConfig(f"sqlite:///{path}", "m"))
    assert "interrupted" not in str(caught.value)
    assert path.read_text() == "nonsense " * 200
