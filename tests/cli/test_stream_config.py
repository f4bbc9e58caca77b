"""The streaming job reads its parts of a configuration, and nothing that trains comes along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream_prune.cli import config, stream_config
from stream_prune.errors import ConfigError

ROOT = Path(__file__).parents[2]
STREAM = ROOT / "configs" / "stream.yaml"

PROGRAM = """
import sys
from pathlib import Path
import beam_jobs.stream, beam_jobs.confluent_reader, beam_jobs.produce.play
from stream_prune.cli import main, produce, reconciled, stream, stream_config, trainer_beside
stream.stream_options(stream_config.load(Path("configs/stream.yaml")))
print([name for name in ("torch", "mlflow", "onnx", "river") if name in sys.modules])
"""


def test_a_streaming_job_and_a_producer_run_without_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_every_key_at_the_top_is_the_streaming_jobs_or_the_trainers() -> None:
    whole = (set(config.Config.model_fields) - {"training"}) | set(config.TRAINING)
    own = set(stream_config.StreamConfig.model_fields)
    assert own | set(stream_config.OTHERS) == whole
    assert own & set(stream_config.OTHERS) == set()


def test_it_reads_what_the_whole_configuration_says() -> None:
    own, whole = stream_config.load(STREAM), config.load(STREAM)
    assert own.log == whole.training.log
    assert own.run == whole.training.run
    assert own.spec() == whole.spec()
    assert own.source == whole.source
    assert own.windows == whole.windows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("windows.length=0", r"stream\.yaml: windows\.length = 0: must be greater than 0"),
        ("sourc=1", r"stream\.yaml: sourc: unknown key; did you mean 'source'\?"),
        ("stream.idel=wait", r"stream\.yaml: stream\.idel: unknown key; did you mean 'idle'\?"),
        ("log=kafka://a:9092", r"stream\.yaml: log = .*names no topic"),
    ],
)
def test_what_is_wrong_with_its_parts_is_told_with_file_and_key(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stream_config.load(STREAM, [change])
