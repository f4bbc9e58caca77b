"""Writing an artifact: whole or not at all, the same bytes each time, and the trainer unharmed."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from small_model import SPEC, SmallModel, raw_rows, trained

from stream_prune.artifact import Lineage, ModelCard, Scorer, export, read_manifest
from stream_prune.artifact.tables import read_arrow
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import Categorical, FeatureSpec


def test_the_model_card_says_what_the_model_is(model, written):
    card = ModelCard.read(written)
    assert card.spec == SPEC
    assert card.head.kind == "stream_prune.models.dlrm.DLRMHead"
    assert card.head.config["top"] == [32, 16]
    assert card.head.shapes == {k: list(v.shape) for k, v in model.head.state_dict().items()}
    assert [(t.name, t.capacity, t.rows) for t in card.tables] == [
        (name, table.capacity, table.rows_used) for name, table in model.tables.tables.items()
    ]
    assert card.metrics == {"ne": 0.9, "auc": None, "window_end": 3_600_000}
    assert (card.lineage.run, card.lineage.step) == ("run", 5)
    assert card.lineage.libraries["torch"] == torch.__version__.split("+")[0]


def test_writing_twice_gives_the_same_bytes(model, tmp_path, monkeypatch):
    # In a checkout the lineage has the commit, and somebody may commit meanwhile.
    monkeypatch.setattr("stream_prune.artifact.lineage._git_version", lambda: "a-commit")
    once, again = (model.write(tmp_path / name) for name in ("once", "again"))
    assert read_manifest(again).files == read_manifest(once).files
    assert read_manifest(again).digest == read_manifest(once).digest


def test_the_order_in_which_ids_came_does_not_show(written):
    ids = read_arrow(written / "ids.arrow")["ids"]
    assert all((np.diff(known.values.to_numpy()) > 0).all() for known in ids)


def test_weights_are_stored_once(model, written):
    weights = sum(v.numel() * v.element_size() for v in model.head.state_dict().values())
    size = {path.name: path.stat().st_size for path in written.iterdir()}
    assert size["head.safetensors"] < weights + 2500
    assert size["head.onnx"] < 8000
    rows = sum(table.rows_used + 1 for table in model.tables.tables.values())
    assert size["tables.safetensors"] < rows * model.tables.dim * 4 + 500
    assert size["ids.arrow"] < rows * 8 + 1500


def test_the_graph_tells_nothing_about_the_machine_it_was_made_on(written):
    graph = (written / "head.onnx").read_bytes()
    assert b".py" not in graph
    assert b"stream_prune" not in graph
    assert str(Path.cwd()).encode() not in graph


def test_training_goes_on_as_if_nothing_was_written(tmp_path):
    losses = []
    for writes in (False, True):
        model = trained(seed=1)
        calls = []
        hook = model.head.register_forward_hook(lambda *a, calls=calls: calls.append(1))
        random = torch.random.get_rng_state()
        if writes:
            model.write(tmp_path / "m")
            assert calls == []
            assert torch.equal(torch.random.get_rng_state(), random)
            assert model.head.training
        hook.remove()
        losses.append([float(model.learn(raw_rows(64, seed=s), seed=s)) for s in range(3)])
    assert losses[0] == losses[1]


def test_an_existing_folder_is_left_alone(model, tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        model.write(tmp_path / "m")
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_a_model_that_came_out_wrong_is_not_written(model, tmp_path, monkeypatch):
    def wrong(head, dense, emb, folder, beside):
        with torch.no_grad():
            next(p for n, p in head.named_parameters() if n.endswith("bias")).add_(0.5)
        return export.export_head(head, dense, emb, folder, beside)

    monkeypatch.setattr("stream_prune.artifact.write.export_head", wrong)
    with pytest.raises(RunError, match="differs from the live one"):
        model.write(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(model, tmp_path, monkeypatch):
    def full(path, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stream_prune.artifact.write.write_arrow", full)
    with pytest.raises(RunError, match=r"cannot be written: No space left on device"):
        model.write(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_writer_killed_before_the_end_leaves_no_artifact(tmp_path):
    program = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from pathlib import Path
        from small_model import trained
        Path.rename = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
        trained(steps=1).write(Path({str(tmp_path)!r}) / "m")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"example": raw_rows(4).drop_columns(["tail"])}, "example: column 'tail' is missing"),
        ({"example": raw_rows(4).slice(0, 0)}, "none of its rows can be scored"),
    ],
)
def test_an_example_that_does_not_fit_is_refused(model, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        model.write(tmp_path / "m", **change)


def test_rows_that_cannot_be_scored_are_left_out_of_the_example(model, tmp_path):
    raw = raw_rows(4)
    wind = raw.column_names.index("wind")
    raw = raw.set_column(wind, "wind", [[1.0, None, float("inf"), 2.0]])
    rows, _ = Scorer.load(model.write(tmp_path / "m", example=raw)).example()
    assert rows["wind"].to_pylist() == [1.0, 2.0]


def test_another_specification_than_the_tables_is_refused(model, tmp_path):
    spec = FeatureSpec(SPEC.dense, (Categorical("other"),), "late", "at")
    with pytest.raises(ConfigError, match=r"tables .* and categorical columns .* differ"):
        SmallModel(spec, model.tables, model.head, model.optimizer).write(tmp_path / "m")


def test_an_empty_table_is_an_artifact_too(tmp_path):
    model = SmallModel.build()  # nothing learned: every id finds the cold row
    scorer = Scorer.load(model.write(tmp_path / "m"))
    raw = raw_rows(20)
    np.testing.assert_allclose(scorer.score(raw), model.score(raw), atol=2e-6)


def test_a_lineage_keeps_what_it_was_given(model, tmp_path):
    lineage = Lineage("a run", 7, "checkpoints/7", "log", 1_000)
    card = ModelCard.read(model.write(tmp_path / "m", lineage=lineage))
    assert card.lineage == lineage.with_versions()
    assert json.loads((tmp_path / "m" / "model.json").read_text())["lineage"]["window_end"] == 1_000
