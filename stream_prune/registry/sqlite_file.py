"""A new SQLite registry appears whole, or not at all.

MLflow creates its tables in place, over seconds, and can't go on from where a killed process left
them. So it does it in a draft beside the file, and the finished draft gets the file's name.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# What a migration says that meets its own half: a table or column that is there, or is not yet.
_HALF_MADE = re.compile(
    r"sqlite3\.OperationalError\W+(table .* already exists|duplicate column|no such (table|column))"
)


def create(uri: str) -> None:
    """Create the SQLite database of a registry, unless it is there, or ``uri`` names no such file.

    Of several processes one creates it and the others wait. A killed one leaves a hidden draft
    beside the file, which the next one removes; a file that is there is never replaced.

    Args:
        uri: as in :class:`~stream_prune.registry.config.RegistryConfig`.

    Raises:
        OSError, MlflowException, SQLAlchemyError: it can't be created.
    """
    path = database(uri)
    if path is None or path.exists():
        return
    path = path.resolve()  # of a link to nowhere, the file it stands for
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.draft."
    with _alone(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        for left in path.parent.iterdir():
            if left.name.startswith(prefix):
                shutil.rmtree(left)
        # MLflow remembers databases by name in its process: every draft needs a name of its own.
        with TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
            draft = Path(folder) / path.name
            _migrate(uri, draft)
            try:
                os.link(draft, path)
            except FileExistsError:  # made by a process that doesn't take the lock
                return


def database(uri: str) -> Path | None:
    """The file of an SQLite registry; None if it is another database, a server, or in memory."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy import make_url

    name = make_url(uri).database
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name)


def way_out(uri: str, error: Exception) -> str:
    """What to do about a database whose creation was interrupted; empty for any other failure.

    Args:
        uri: of the registry that failed.
        error: what MLflow raised.
    """
    path = database(uri)
    if path is None or not path.is_file():
        return ""
    if not _HALF_MADE.search(str(error)) and not _holds_a_half_made_table(path):
        return ""
    return (
        f"; the creation or an upgrade of {path} was interrupted, and MLflow can't go on from "
        "there: move the file away, and a new one is created"
    )


def _holds_a_half_made_table(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            names = opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return any(name.startswith("_alembic_tmp_") for (name,) in names)
    except sqlite3.Error:  # no database at all, or locked: the error itself says so
        return False


def _migrate(uri: str, draft: Path) -> None:
    """Let MLflow create all its tables in ``draft``, with the options of ``uri``."""
    from mlflow import MlflowClient
    from sqlalchemy import make_url

    at = make_url(uri).set(database=str(draft)).render_as_string(hide_password=False)
    MlflowClient(at, at).search_experiments(max_results=1)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that ends with its process.

    Its file goes once the block is through: whoever still waits for it finds the database there.
    """
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        lock.unlink(missing_ok=True)
