"""Commands and addresses to go on with, as a person can type them in the shell at hand."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stream_prune.errors import RunError

if TYPE_CHECKING:
    from stream_prune.registry.config import RegistryConfig

SERVER = "http://127.0.0.1:5000"
"""Where ``mlflow ui`` listens."""


def program(name: str = "stream-prune") -> str:
    """The name alone where the shell finds this very program by it, else its whole path."""
    own = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not own.is_file() or (found is not None and Path(found).resolve() == own.resolve()):
        return name
    return shlex.quote(str(own))


def runs_page(registry: RegistryConfig) -> str:
    """What shows the runs in MLflow: an address, after the command that answers there, if need be.

    A registry that does not answer is said, and stops nothing.
    """
    from stream_prune.registry.client import connect, experiment_id

    try:
        experiment = experiment_id(connect(registry), registry)
    except RunError as error:
        return f"not there: {error}"
    page = f"#/experiments/{experiment}/runs"
    if registry.tracking_uri.startswith("http"):
        return f"{registry.tracking_uri.rstrip('/')}/{page}"
    uri = shlex.quote(registry.tracking_uri)
    return f"{program('mlflow')} ui --backend-store-uri {uri}\n          then open {SERVER}/{page}"
