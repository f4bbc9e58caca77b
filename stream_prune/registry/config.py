"""Where models are registered, and under which names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stream_prune.errors import ConfigError
from stream_prune.registry import address

_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
_UNUSABLE = set("/:.%\"'")


@dataclass(frozen=True)
class RegistryConfig:
    """An MLflow registry and the names used in it.

    Credentials come from the environment: MLflow's own variables for a server, and ``${env:NAME}``
    in place of a database's password.

    Args:
        tracking_uri: a server (``http://host:5000``) or a database (``sqlite:///mlflow.db``).
        model: the registered model's name.
        registry_uri: where models are registered, if not at ``tracking_uri``.
        alias: what serving follows.
        candidate: set on a version that passed every check, just before ``alias``.
        experiment: of the runs with the curves.
        artifact_location: where files go; None: beside a SQLite file, or what the server says.
        ready_timeout_s: how long to wait for a new version to become ready.

    Raises:
        ConfigError: a value that MLflow can't use, by name.
    """

    tracking_uri: str
    model: str
    registry_uri: str | None = None
    alias: str = "champion"
    candidate: str = "candidate"
    experiment: str = "stream_prune"
    artifact_location: str | None = None
    ready_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        for field in ("tracking_uri", "registry_uri"):
            uri = getattr(self, field)
            if uri is not None and uri.split(":")[0].split("+")[0] not in _SCHEMES:
                raise ConfigError(
                    f"registry.{field} = {uri!r}: must be a server (http://host:5000) or a "
                    "database (sqlite:///mlflow.db)"
                )
            if uri is not None:
                address.check(f"registry.{field}", uri)
        if not self.model or _UNUSABLE & set(self.model):
            raise ConfigError(
                f"registry.model = {self.model!r}: must be a name without any of "
                f"{' '.join(sorted(_UNUSABLE))}"
            )
        if self.alias == self.candidate:
            raise ConfigError(f"registry.alias and registry.candidate are both {self.alias!r}")
        if not self.ready_timeout_s > 0:
            raise ConfigError(
                f"registry.ready_timeout_s = {self.ready_timeout_s}: must be more than 0"
            )

    @property
    def tracking_address(self) -> str:
        """``tracking_uri`` with its secrets filled in: to connect with, never to show."""
        return address.filled(self.tracking_uri)

    @property
    def registry_address(self) -> str:
        """The same of ``registry_uri``, or of ``tracking_uri`` where that is None."""
        return address.filled(self.registry_uri or self.tracking_uri)

    @property
    def store(self) -> str | None:
        """The folder that new experiments keep their files in; None leaves it to the server."""
        if self.artifact_location is not None:
            return self.artifact_location
        if not self.tracking_uri.startswith("sqlite:///"):
            return None
        database = Path(self.tracking_uri.removeprefix("sqlite:///")).resolve()
        return str(database.with_suffix("")) + "_files"
