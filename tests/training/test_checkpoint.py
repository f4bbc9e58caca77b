import hashlib
import json
import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.errors import RunError
from stream_prune.stateful import State
from stream_prune.training.checkpoint import Checkpoints, read_states, restore, write_states


class Part:
    def __init__(self, **state: object) -> None:
        self.state: State = state  # type: ignore[assignment]

    def state_dict(self) -> State:
        return self.state

    def load_state_dict(self, state: State) -> None:
        self.state = state


def a_part(value: float) -> Part:
    weights = torch.arange(6, dtype=torch.float32).reshape(2, 3) * value
    return Part(weights=weights, transposed=weights.T, step=int(value), rate=value / 3, blob=b"\0x")


values = st.one_of(st.integers(), st.floats(allow_nan=False), st.text('aé✓\n\0"'), st.binary())


@given(st.dictionaries(st.text("abc/._", min_size=1), values))
def test_plain_values_come_back_exactly(tmp_path_factory, state):
    folder = tmp_path_factory.mktemp("states")
    write_states(folder, 1, {"part": state})
    back = read_states(folder)["part"]
    assert back == state
    assert {key: type(value) for key, value in back.items()} == {
        key: type(value) for key, value in state.items()
    }


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4),
        torch.randn(3, 4).T,
        torch.randn(8)[2:5],
        torch.tensor(3.5),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.tensor([2**62, -1]),
        torch.tensor([1, 255], dtype=torch.uint8),
        torch.tensor([0.1], dtype=torch.float64),
    ],
)
def test_tensors_come_back_exactly(tmp_path: Path, tensor: torch.Tensor):
    write_states(tmp_path, 1, {"a": {"x": tensor, "same": tensor}, "b": {"x": tensor}})
    back = read_states(tmp_path)
    for loaded in (back["a"]["x"], back["a"]["same"], back["b"]["x"]):
        assert isinstance(loaded, torch.Tensor)
        assert loaded.dtype == tensor.dtype
        assert torch.equal(loaded, tensor)


def test_a_value_that_is_not_plain_is_refused_by_name(tmp_path: Path):
    with pytest.raises(TypeError, match="state head/odd: list"):
        write_states(tmp_path, 1, {"head": {"odd": [1]}})  # type: ignore[dict-item]


def test_the_newest_checkpoint_is_loaded_and_old_ones_go(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert checkpoints.load() is None
    for step in (5, 10, 15):
        checkpoints.save(step, {"part": a_part(step)})
    states = checkpoints.load()
    assert states is not None
    assert states["part"]["step"] == 15
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == ["0000000010", "0000000015"]


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "no digests"])
@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str, name: str
):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"part": a_part(1)})
    broken = checkpoints.save(2, {"part": a_part(2)})
    file = broken / name
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "missing":
        file.unlink()
    else:
        (broken / "digests.json").unlink()
    with caplog.at_level(logging.WARNING):
        states = checkpoints.load()
    assert states is not None
    assert states["part"]["step"] == 1
    assert str(broken) in caplog.text
    assert "going back" in caplog.text
    replaced = checkpoints.save(2, {"part": a_part(2)})
    assert read_states(replaced)["part"]["step"] == 2


def test_when_every_checkpoint_is_damaged_the_run_stops_and_says_so(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        (checkpoints.save(step, {"part": a_part(step)}) / "state.json").write_text("{")
    with pytest.raises(RunError, match=r"no intact checkpoint: .*0000000002.*new run folder"):
        checkpoints.load()


def test_a_half_written_checkpoint_is_no_checkpoint(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    kept = checkpoints.save(1, {"part": a_part(1)})
    half = tmp_path / ".0000000002.tmp"
    shutil.copytree(kept, half)
    (half / "digests.json").unlink()
    states = checkpoints.load()
    assert states is not None
    assert states["part"]["step"] == 1
    assert not half.exists()


def test_a_full_disk_is_reported_and_leaves_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"part": a_part(1)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(RunError, match=r"0000000002.*No space left.*free some space"):
            checkpoints.save(2, {"part": a_part(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["0000000001"]
    assert checkpoints.load() is not None


def test_a_disk_that_fills_up_among_the_tensors_is_reported_too(tmp_path: Path):
    program = f"""
import resource, signal, torch
from pathlib import Path
from stream_prune.training.checkpoint import Checkpoints
class Part:
    def state_dict(self): return {{"x": torch.ones(1000)}}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
Checkpoints(Path({str(tmp_path)!r})).save(2, {{"part": Part()}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "RunError: " in done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        f"{tmp_path}/0000000002: the checkpoint cannot be written: File too large"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path):
    write_states(tmp_path, 1, {"part": {"x": 1}})
    values = tmp_path / "state.json"
    values.write_text(json.dumps(json.loads(values.read_text()) | {"format": 99}))
    digests = tmp_path / "digests.json"
    digest = hashlib.sha256(values.read_bytes()).hexdigest()
    digests.write_text(json.dumps(json.loads(digests.read_text()) | {"state.json": digest}))
    with pytest.raises(RunError, match="has format 99, this version reads format 1"):
        read_states(tmp_path)


def test_neither_saving_nor_loading_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(torch, "save", forbidden)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"part": a_part(1)})
    assert checkpoints.load() is not None


def test_a_checkpoint_of_another_version_is_named_with_the_way_out(tmp_path: Path):
    class Newer(Part):
        def load_state_dict(self, state: State) -> None:
            self.state = {"seen": state["seen"]}

    states: dict[str, State] = {"tables": {"weights": torch.ones(2)}}
    for part, name in ((Newer(), "tables"), (a_part(1), "monitors")):
        with pytest.raises(RunError, match="another version of stream_prune wrote it") as caught:
            restore(part, name, states, tmp_path)
        assert f"{tmp_path}: the checkpoint of {name!r} lacks" in str(caught.value)
        assert "into a new run folder" in str(caught.value)
