from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.errors import ConfigError
from stream_prune.features import (
    MISSING_ID,
    Categorical,
    Dense,
    FeatureSpec,
    duration_ms,
    hash_string,
    hash_strings,
    load_spec,
)

SPEC = FeatureSpec(
    dense=(Dense("age"), Dense("price", "log1p", missing=0)),
    categorical=(Categorical("user"), Categorical("genres", multi=True)),
    label="clicked",
    event_time="at",
    event_key="id",
    label_delay_ms=86_400_000,
)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        *(("250ms", 250), ("10s", 10_000), ("15min", 900_000), ("6h", 21_600_000), ("0s", 0)),
        *(("1.001s", 1001), (" 0.1d ", 8_640_000), (2, 2000), (0.5, 500), ("1 h", 3_600_000)),
    ],
)
def test_a_duration_is_exact_to_the_millisecond(text, milliseconds):
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "h", "5 parsecs", "-1s", "0.5ms", "1e400d", "nan s", "infs", "1_0s s", True, "5S"],
)
def test_what_is_no_duration_is_refused_by_its_own_words(text):
    with pytest.raises(ConfigError, match="is no duration") as refusal:
        duration_ms(text)
    assert repr(text) in str(refusal.value)


@given(st.integers(0, 10**9), st.sampled_from(["ms", "s", "min", "h"]))
def test_whole_durations_are_all_accepted(number, unit):
    assert duration_ms(f"{number}{unit}") == number * duration_ms(f"1{unit}")


def test_a_specification_survives_json():
    again = FeatureSpec.from_dict(json.loads(json.dumps(SPEC.to_dict())))
    assert again == SPEC
    assert again.fingerprint == SPEC.fingerprint


def test_the_fingerprint_is_the_same_in_every_version():
    # Another value here means that every existing log is refused: raise _ENCODING knowingly.
    assert SPEC.fingerprint == ("3862f59da3f1f54bd1a5162059720d3d91b60f5e96868895ec95a110d85d12a3")


def test_equal_numbers_have_equal_fingerprints():
    def of(missing):
        return replace(SPEC, dense=(Dense("age", missing=missing),))

    assert of(0) == of(0.0) == of(-0.0)
    assert of(0).fingerprint == of(0.0).fingerprint == of(-0.0).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"dense": ()},
        {"dense": SPEC.dense[::-1]},
        {"dense": (Dense("age", missing=1.0), SPEC.dense[1])},
        {"dense": (Dense("age", "clip", 0, 1), SPEC.dense[1])},
        {"dense": (Dense("age", "clip", 0, 2), SPEC.dense[1])},
        {"categorical": SPEC.categorical[::-1]},
        {"categorical": (Categorical("user"), Categorical("genres"))},
        {"categorical": (Categorical("user", type="integer"), SPEC.categorical[1])},
        {"label": "bought"},
        {"event_time": "time"},
        {"event_key": None},
        {"label_delay_ms": 0},
    ],
    ids=str,
)
def test_the_fingerprint_changes_with_every_part(change):
    assert replace(SPEC, **change).fingerprint != SPEC.fingerprint


def minimal(**more):
    return {"categorical": ["user"], "label": "y", "event_time": "t", **more}


def test_a_column_may_be_a_bare_name_and_the_delay_a_duration():
    spec = FeatureSpec.from_dict(minimal(dense=["age"], label_delay="1d"))
    assert spec.dense == (Dense("age"),)
    assert spec.categorical == (Categorical("user"),)
    assert spec.label_delay_ms == 86_400_000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (minimal(labels="y"), "unknown key 'labels'"),
        ({"categorical": ["user"], "event_time": "t"}, "label is missing"),
        (minimal(categorical=[]), "at least one categorical"),
        (minimal(categorical="user"), "features.categorical = 'user': must be a list"),
        (minimal(dense=None), "features.dense = None: must be a list"),
        (minimal(dense=[5]), "5: must be a name"),
        (minimal(dense=[{"name": "a", "scale": 2}]), "scale"),
        (minimal(dense=[{"transform": "log1p"}]), "key name"),
        (minimal(dense=[{"name": "a", "transform": "sqrt"}]), "transform = 'sqrt'"),
        (minimal(dense=[{"name": "a", "transform": "clip"}]), "low and high"),
        (minimal(dense=[{"name": "a", "transform": "clip", "low": 0}]), "low and high"),
        (minimal(dense=[{"name": "a", "transform": "log1p", "low": 0}]), "low and high"),
        (minimal(dense=[{"name": "a", "transform": "clip", "low": 2, "high": 1}]), "above"),
        (minimal(dense=[{"name": "a", "missing": "0"}]), "missing = '0'"),
        (minimal(dense=[{"name": "a", "missing": float("nan")}]), "missing = nan"),
        (minimal(dense=[{"name": "a", "missing": 1e39}]), "finite float32"),
        (minimal(categorical=[{"name": "a", "multi": "yes"}]), "multi = 'yes'"),
        (minimal(categorical=[{"name": "a", "type": "float"}]), "must be string or integer"),
        (minimal(dense=["user"]), "'user' is named twice"),
        (minimal(dense=["y"]), "'y' is named twice"),
        (minimal(dense=["__label"]), "reserved"),
        (minimal(label=5), "label = 5"),
        (minimal(event_key=""), "event_key = ''"),
        (minimal(label_delay_ms=-1), "label_delay_ms = -1"),
        (minimal(label_delay_ms=1.5), "label_delay_ms = 1.5"),
        (minimal(label_delay="1d", label_delay_ms=5), "not both"),
        (minimal(label_delay="soon"), "'soon' is no duration"),
    ],
)
def test_a_wrong_specification_is_refused_with_its_field_and_value(values, message):
    with pytest.raises(ConfigError) as refusal:
        FeatureSpec.from_dict(values)
    assert message in str(refusal.value)


def test_a_specification_is_read_from_yaml(tmp_path):
    path = tmp_path / "features.yaml"
    path.write_text("categorical: [größe]\nlabel: y\nevent_time: t\n", encoding="utf-8")
    assert load_spec(path).categorical == (Categorical("größe"),)


@pytest.mark.parametrize(
    "content", [b"{", b"- 1", b"\xff\xfe\x00", b"label: y\n"], ids=["yaml", "list", "bytes", "key"]
)
def test_an_unreadable_specification_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "features.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"features\.yaml: "):
        load_spec(path)
    with pytest.raises(ConfigError, match=r"absent\.yaml: "):
        load_spec(tmp_path / "absent.yaml")


def test_hashes_are_the_same_in_every_version():
    words = pa.array(["", "a", "AA", "JFK", "größe", "日本", None])
    assert hash_strings(words).tolist() == [
        1622210670741801569,
        8314517215945369359,
        4785939880465313622,
        1453998862927417207,
        6011142172008137622,
        1588642302162439648,
        9223372036854775807,
    ]


@given(st.lists(st.none() | st.text(max_size=4)))
def test_a_hash_depends_on_the_text_alone(words):
    array = pa.array(words, pa.string())
    ids = hash_strings(array).tolist()
    assert ids == [MISSING_ID if w is None else hash_string(w) for w in words]
    assert ids == [hash_strings(pa.array([w], pa.string()))[0] for w in words]
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())):
        assert hash_strings(array.cast(kind)).tolist() == ids
    for word, number in zip(words, ids, strict=True):
        assert (number == MISSING_ID) == (word is None)
        assert 0 <= number <= MISSING_ID


def test_a_dictionary_as_large_as_its_indices_allow_is_hashed():
    words = [f"w{i}" for i in range(128)]
    indices = pa.array([*range(128), None], pa.int8())
    ids = hash_strings(pa.DictionaryArray.from_arrays(indices, pa.array(words)))
    assert ids.tolist() == hash_strings(pa.array([*words, None])).tolist()


def test_a_null_inside_a_dictionary_is_missing():
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["a", None]))
    assert hash_strings(words)[1] == MISSING_ID


def test_the_specification_and_the_encoder_load_no_torch():
    program = "import sys, stream_prune.encoding; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
