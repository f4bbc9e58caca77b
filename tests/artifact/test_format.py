"""An artifact that is not as it was written is refused, and the message names the file."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_prune.artifact import ModelCard, Scorer, read_manifest, verify
from stream_prune.artifact.format import FILES, MANIFEST, MODEL
from stream_prune.errors import RunError


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def test_a_whole_artifact_passes_and_a_copy_has_the_same_digest(written, copy):
    assert verify(written).digest == verify(copy).digest
    assert set(verify(copy).files) == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(RunError, match=f"{name} is missing"):
        Scorer.load(copy)


def test_an_extra_file_is_named(copy):
    (copy / "notes.txt").write_text("hello")
    with pytest.raises(RunError, match=r"notes\.txt is no part of the artifact"):
        Scorer.load(copy)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(name=st.sampled_from(FILES), data=st.data())
def test_any_flipped_bit_is_found(copy, name, data):
    path = copy / name
    content = path.read_bytes()
    at = data.draw(st.integers(0, 8 * len(content) - 1), "bit")
    changed = bytearray(content)
    changed[at // 8] ^= 1 << (at % 8)
    path.write_bytes(changed)
    try:
        with pytest.raises(RunError, match=f"{name} has changed"):
            verify(copy)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_off_file_is_named(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(RunError, match=f"{name} has changed"):
        verify(copy)


def test_a_link_in_place_of_a_file_is_refused(copy, written):
    (copy / MODEL).unlink()
    (copy / MODEL).symlink_to(written / MODEL)
    with pytest.raises(RunError, match="is not a regular file"):
        verify(copy)


def test_a_folder_that_is_no_artifact_is_named(tmp_path):
    with pytest.raises(RunError, match=r"manifest\.json: is missing.*is no artifact folder"):
        Scorer.load(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "files": []}', "\x00"]
)
def test_a_manifest_that_is_none_is_named(copy, content):
    (copy / MANIFEST).write_text(content)
    with pytest.raises(RunError, match=r"manifest\.json: "):
        verify(copy)


def test_a_newer_format_is_refused(copy):
    values = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(values | {"format": 2}))
    with pytest.raises(RunError, match="format 2: this version reads format 1 only"):
        read_manifest(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "0" * 64}, "the model was trained with 000000000000"),
        ({"numbers": "int4"}, "this version reads float32, float16, int8"),
        ({"tables": []}, "tables and categorical columns differ"),
        ({"dim": None}, "is no model description"),
        ({"features": {}}, "is no model description"),
        ({"head": {"kind": "x"}}, "is no model description"),
    ],
)
def test_a_model_description_at_odds_with_itself_is_named(copy, change, message):
    values = json.loads((copy / MODEL).read_text())
    (copy / MODEL).write_text(json.dumps(values | change))
    with pytest.raises(RunError, match=message):
        ModelCard.read(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 9}, r"tables\.safetensors: rows of float32, dim 9, are float32 of width 9"),
        ({"tables": "more rows"}, r"tables\.safetensors: table 'carrier': there are no \d+ rows"),
    ],
)
def test_weights_that_are_not_as_described_are_named(copy, change, message):
    values = json.loads((copy / MODEL).read_text())
    if "tables" in change:
        values["tables"][0]["rows"] += 1
        change = {}
    (copy / MODEL).write_text(json.dumps(values | change))
    with pytest.raises(RunError, match=message):
        Scorer.load(copy, verify=False)


@pytest.mark.parametrize(
    "name", ["head.onnx", "tables.safetensors", "ids.arrow", "head.safetensors"]
)
def test_damage_is_found_at_loading_even_unverified(copy, name):
    (copy / name).write_bytes(b"\x08\x07 not what it says")
    with pytest.raises(RunError, match=r"cannot be (read|loaded)"):
        Scorer.load(copy, verify=False)
