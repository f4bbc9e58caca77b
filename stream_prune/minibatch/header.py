"""What a mini-batch log says about itself once, when it is created."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec

FORMAT = 1


@dataclass(frozen=True)
class LogHeader:
    """The fixed properties of a log.

    Attributes:
        fingerprint: of the feature specification that encoded the rows.
        features: that specification as plain values (``FeatureSpec.to_dict``).
        window_ms: length of a window.
        shards: number of shards; a window is whole once every one of them committed it.
        batch_rows: the most rows in a batch.
        format: version of the log's layout.
    """

    fingerprint: str
    features: Mapping[str, Any]
    window_ms: int
    shards: int = 1
    batch_rows: int = 4096
    format: int = FORMAT

    def __post_init__(self) -> None:
        for name in ("window_ms", "shards", "batch_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"log: {name} = {getattr(self, name)}: must be 1 or more")

    @classmethod
    def of(
        cls, spec: FeatureSpec, *, window_ms: int, shards: int = 1, batch_rows: int = 4096
    ) -> LogHeader:
        """The header of a log of this specification's rows."""
        return cls(spec.fingerprint, spec.to_dict(), window_ms, shards, batch_rows)

    def to_json(self) -> str:
        """The header as JSON, for people too."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, place: str) -> LogHeader:
        """The inverse of :meth:`to_json`.

        Raises:
            ConfigError: ``place`` holds no header, or one of another format.
        """
        try:
            values = json.loads(text)
            found = values["format"]
            if found == FORMAT:
                return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{place}: not the header of a mini-batch log: {error}") from None
        raise ConfigError(
            f"{place}: the log has format {found!r}, this version reads {FORMAT}: "
            "replay the events into a new log"
        )

    def require_spec(self, spec: FeatureSpec, place: str) -> None:
        """Refuse a specification other than the log's.

        Raises:
            ConfigError: naming the parts that differ.
        """
        if spec.fingerprint != self.fingerprint:
            there = {"features": self.features, "fingerprint": self.fingerprint}
            here = {"features": spec.to_dict(), "fingerprint": spec.fingerprint}
            _refuse(place, "feature specification", there, here)

    def require_equal(self, wanted: LogHeader, place: str) -> None:
        """Refuse to go on with a log that was created otherwise.

        Raises:
            ConfigError: naming the parts that differ.
        """
        if wanted != self:
            _refuse(place, "configuration", asdict(self), asdict(wanted))


def _refuse(place: str, what: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    found = list(differences(there, here))
    parts = [part for part in found if not part.startswith("fingerprint")] or found
    raise ConfigError(
        f"{place}: the log was written with another {what}: {'; '.join(parts)}: "
        "go back to the log's, or use another folder"
    )


def differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """Where two plain values differ, as ``features.dense[0].name is 'a' in the log, 'b' here``.

    >>> list(differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}))
    ['a[1].b is 2 in the log, 3 here']
    """
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in sorted({*there, *here}):
            inner = f"{path}.{key}" if path else key
            yield from differences(there.get(key), here.get(key), inner)
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (a, b) in enumerate(zip(there, here, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif there != here:
        yield f"{path} is {there!r} in the log, {here!r} here"
