"""Writes an artifact: the torch side. Nothing of the model being trained is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from stream_prune.artifact.config import ArtifactConfig
from stream_prune.artifact.export import export_head, snapshot
from stream_prune.artifact.folder import appearing
from stream_prune.artifact.format import EXAMPLE, MANIFEST, MODEL, SCORE, Manifest
from stream_prune.artifact.inputs import Inputs
from stream_prune.artifact.lineage import Lineage
from stream_prune.artifact.model_card import HeadCard, ModelCard, TableCard
from stream_prune.artifact.requests import RequestEncoder
from stream_prune.artifact.rounding import Logits, difference, ne_lost, probes, tolerance
from stream_prune.artifact.scorer import Scorer
from stream_prune.artifact.stored_rows import store
from stream_prune.artifact.table_files import projection_name, write_arrow, write_tables
from stream_prune.embedding.widths import Tables, TablesOfWidths
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.sparsity.plan import Plan

Floats: TypeAlias = npt.NDArray[np.float32]

DEFAULTS = ArtifactConfig()


def write(
    folder: str | Path,
    *,
    name: str,
    head: nn.Module,
    tables: Tables,
    spec: FeatureSpec,
    plan: Plan | None,
    example: pa.Table,
    metrics: Mapping[str, Any],
    lineage: Lineage,
    config: ArtifactConfig = DEFAULTS,
    judged: Iterable[MiniBatch] = (),
) -> Path:
    """Write the model as it is now, load it back, compare its scores, and only then name it.

    Args:
        folder: must not exist yet; appears whole or not at all.
        name: the model's name in the manifest.
        head: maps dense float32 [B, N] and emb [B, F, D] to logits [B]; has a dataclass ``config``.
        tables: rows in use are written, with the cold rows of each table.
        spec: the features that the model was trained on.
        plan: the units that were kept; None of a model that was never pruned.
        example: raw rows with the input columns; those that can't be scored are left out.
        metrics: the figures at this moment (NE, AUC, their window); not finite becomes null.
        lineage: where the model is from.
        config: how rows are stored, and what that may cost.
        judged: the log's last batches, on which rounded rows may lose so much and no more.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder exists, or model, features and example don't fit.
        RunError: it can't be written, or what was written scores differently; rounded rows cost
            more than ``config`` allows.
    """
    folder = Path(folder)
    columns = [column.name for column in spec.categorical]
    if list(tables.tables) != columns:
        raise ConfigError(f"tables {list(tables.tables)} and categorical columns {columns} differ")
    frozen = snapshot(head)
    rows, inputs = _usable(example, spec)

    def exact(encoded: Inputs) -> Floats:
        return _torch_logits(frozen, tables, encoded)

    logits = exact(inputs)
    with appearing(folder) as draft:
        packed = export_head(
            frozen,
            torch.zeros(2, len(spec.dense)),
            torch.zeros(2, len(columns), tables.dim),
            draft,
            _projections(tables),
        )
        cards = _write_tables(draft, tables, config.rows)
        card = ModelCard(
            head=_head_card(frozen),
            tables=cards,
            dim=tables.dim,
            spec=spec,
            lineage=lineage.with_versions(),
            metrics=_finite(metrics),
            plan=None if plan is None else plan.to_dict(),
            packed=packed,
            numbers=config.rows,
        )
        scores = pa.array(torch.sigmoid(torch.from_numpy(logits)).numpy())
        write_arrow(draft / EXAMPLE, rows.append_column(SCORE, scores))
        created = datetime.now(UTC).isoformat(timespec="seconds")
        _describe(draft, card, name, created)
        if config.rows != "float32":
            card = _with_cost(card, Scorer.load(draft), exact, inputs, tables, config, judged)
            _describe(draft, card, name, created)
        _check(draft, rows, logits)
    return folder


def _describe(draft: Path, card: ModelCard, name: str, created: str) -> None:
    (draft / MODEL).write_text(card.to_json())
    (draft / MANIFEST).write_text(Manifest.of_folder(draft, name, created).to_json())


def _with_cost(
    card: ModelCard,
    scorer: Scorer,
    exact: Logits,
    example: Inputs,
    tables: Tables,
    config: ArtifactConfig,
    judged: Iterable[MiniBatch],
) -> ModelCard:
    """The card with what rounding costs: the tolerance that it states, and NE."""
    made = probes(example, [table.ids() for table in tables.tables.values()])
    allowed = tolerance(scorer.logits_of(made), exact(made), config)
    lost, rows = ne_lost(scorer.logits_of, exact, judged, card.spec)
    if not lost <= config.ne_loss:
        raise RunError(
            f"rows stored as {config.rows} add {lost:.3%} to the normalized entropy of the last "
            f"{rows:,} labelled rows; allowed is {config.ne_loss:.3%} (artifact.ne_loss); store "
            "them as float16 or float32 (artifact.rows)"
        )
    cost = {"rounding": {"ne_lost": lost, "labelled": rows}} if rows else {}
    return replace(card, logit_tolerance=allowed, metrics={**card.metrics, **cost})


def _usable(example: pa.Table, spec: FeatureSpec) -> tuple[pa.Table, Inputs]:
    """The example's input columns of the rows that can be scored, raw and encoded."""
    for column in spec.inputs:
        if column not in example.schema.names:
            raise ConfigError(f"example: column {column!r} is missing")
    rows = example.select(list(spec.inputs)).combine_chunks()
    good = [encode(spec, batch, labels=False).good for batch in rows.to_batches()]
    rows = rows.filter(pa.array(np.concatenate([np.zeros(0, np.bool_), *good])))
    if rows.num_rows == 0:
        raise ConfigError("example: none of its rows can be scored: give rows of the log")
    # No schema metadata: pandas leaves its version there, and the bytes would depend on it.
    rows = rows.replace_schema_metadata(None)
    return rows, RequestEncoder(spec)(rows)


def _torch_logits(head: nn.Module, tables: Tables, inputs: Inputs) -> Floats:
    """What the trainer's own modules give: float32 [B]."""
    bags = [np.arange(inputs.rows + 1) if o is None else o for o in inputs.bounds]
    begins = np.cumsum([0, *inputs.lengths])
    offsets = np.concatenate(
        [*(bag[:-1] + begin for bag, begin in zip(bags, begins, strict=False)), begins[-1:]]
    )
    with torch.no_grad():
        emb = tables(inputs.ids, None if inputs.offsets is None else offsets).cpu()
        logits = head(torch.from_numpy(inputs.dense), emb)
    array: Floats = logits.float().numpy()
    return array


def _projections(tables: Tables) -> dict[str, Tensor]:
    """Of the narrow tables, by their names in the head's file."""
    if not isinstance(tables, TablesOfWidths):
        return {}
    found = {projection_name(name): tables.projection(name) for name in tables.tables}
    return {name: weight for name, weight in found.items() if weight is not None}


def _write_tables(folder: Path, tables: Tables, numbers: str) -> tuple[TableCard, ...]:
    """Rows in the order of their ids, so that the same rows give the same bytes."""
    weights, ids, cards = {}, {}, []
    for name, table in tables.tables.items():
        known, rows = table.ids(), table.weight().detach().cpu().numpy()
        order = np.argsort(known)
        try:
            shared, owned = np.split(rows, [table.cold_rows])
            weights[name] = store(np.concatenate([shared, owned[order]]), numbers)
        except RunError as error:
            raise RunError(f"table {name!r}: {error}") from None
        ids[name] = known[order]
        bags = (table.combine, table.most_values)
        width = table.dim if table.dim < tables.dim else None
        cards.append(TableCard(name, table.capacity, len(known), table.cold_rows, *bags, width))
    write_tables(folder, weights, ids)
    return tuple(cards)


def _head_card(head: nn.Module) -> HeadCard:
    config = getattr(head, "config", None)
    if not is_dataclass(config) or isinstance(config, type):
        raise ConfigError(f"{type(head).__name__}: a head needs a dataclass instance as `config`")
    kind = f"{type(head).__module__}.{type(head).__qualname__}"
    shapes = {key: list(value.shape) for key, value in head.state_dict().items()}
    return HeadCard(kind, asdict(config), shapes)


def _check(draft: Path, rows: pa.Table, logits: Floats) -> None:
    """The written model must say what the live one says: as a batch, and one row alone."""
    scorer = Scorer.load(draft)
    allowed = scorer.card.logit_tolerance
    for found, expected in (
        (scorer.logits(rows), logits),
        (scorer.logits(rows.slice(0, 1)), logits[:1]),
    ):
        differs = difference(found, expected)
        if not differs <= allowed:
            raise RunError(
                f"the exported model differs from the live one by {differs:.2g} in a "
                f"logit (allowed is {allowed:.2g}); nothing was written"
            )


def _finite(value: Any) -> Any:
    """JSON's own types; a number that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
