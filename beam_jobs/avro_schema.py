"""The Avro schema of events by a feature specification: what `produce` writes, a reader's default.

Every column may be null but the event time and the event key, as in the specification: what a
missing value means is decided by ``missing``, when a row is encoded for the model.
"""

from __future__ import annotations

import re
from typing import Any

from stream_prune.errors import ConfigError
from stream_prune.features import INTEGER, Categorical, FeatureSpec

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
TIME = {"type": "long", "logicalType": "timestamp-millis"}


def avro_schema(spec: FeatureSpec, name: str = "event") -> dict[str, Any]:
    """A record with every column of ``spec``, in its order.

    Dense columns are doubles, categories strings or longs (lists of them where multi-valued), the
    label is an int, the event time a timestamp in ms, the event key a string, the served score a
    double.

    Raises:
        ConfigError: a column has a name that Avro can't have.
    """
    fields = [_nullable(column.name, "double") for column in spec.dense]
    fields += [_nullable(column.name, _category(column)) for column in spec.categorical]
    fields.append(_nullable(spec.label, "int"))
    fields.append({"name": spec.event_time, "type": TIME})
    if spec.event_key is not None:
        fields.append({"name": spec.event_key, "type": "string"})
    if spec.served_score is not None:
        fields.append(_nullable(spec.served_score, "double"))
    for field in fields:
        if not NAME.fullmatch(field["name"]):
            raise ConfigError(
                f"column {field['name']!r}: an Avro name has ASCII letters, digits and _ only and "
                "begins with no digit: rename it, or use JSON"
            )
    return {"type": "record", "name": name, "namespace": "stream_prune", "fields": fields}


def _category(column: Categorical) -> Any:
    one = "long" if column.type == INTEGER else "string"
    return {"type": "array", "items": one} if column.multi else one


def _nullable(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None}
