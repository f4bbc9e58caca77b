import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from test_companions import CONTROL, SHADOW
from test_trainer import SPARSE, a_config, assert_same_bits, final_states, journal_of
from training_logs import HOUR, a_spec, drifting_rows, write_log

# One process that starts the trainer in a child again and again. In every child a countdown runs
# over what the trainer does (scores, learned batches, journal lines, synced files, renamed and
# deleted folders); at zero the child kills itself as the operating system would.
SUPERVISOR = """
import json, os, shutil, signal, sys
from pathlib import Path

import torch

import stream_prune.training.trainer as room
from stream_prune.training.config import TrainingConfig
from stream_prune.training.journal import Journal
from stream_prune.training.learner import Learner

left = [0]

def watched(owner, name):
    inner = getattr(owner, name)
    def outer(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*args, **kwargs)
    setattr(owner, name, outer)

def poison(learn):
    def poisoned(self, batch, *more):
        learn(self, batch, *more)
        if self.caution > 0.3 and batch.event_time[-1] >= POISONED:
            with torch.no_grad():
                next(self.head.parameters()).view(-1)[0] = torch.inf
    return poisoned

if sys.argv[3] == "diverging":
    Learner.learn = poison(Learner.learn)

whole, config = (TrainingConfig.from_dict(values) for values in json.loads(sys.argv[1]))
room.Trainer(whole).run()  # also compiles what the children need
for owner, name in ((Learner, "score"), (Learner, "learn"), (Journal, "write"), (os, "fsync"),
                    (Path, "rename"), (shutil, "rmtree")):
    watched(owner, name)
for steps in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        left[0] = steps
        room.Trainer(config).run()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else "ended", flush=True)
""".replace("POISONED", str(411 * HOUR))


# Of the last one the model diverges twice, so the run goes back and is killed on that way too.
@pytest.mark.parametrize(
    ("name", "values", "kills"),
    [("dense", {}, 6), ("sparse", SPARSE, 6), ("shadow", SHADOW, 3), ("diverging", CONTROL, 3)],
)
def test_a_run_killed_at_random_steps_ends_with_the_same_bits(
    tmp_path: Path, name: str, values: dict, kills: int
):
    write_log(tmp_path / "log", a_spec(), drifting_rows(2000))
    checkpoint = {"every_windows": 2}
    whole = a_config(tmp_path, "whole", checkpoint=checkpoint, **values)
    steps = [random.SystemRandom().randrange(1, 60) for _ in range(kills)]
    killed = a_config(tmp_path, "killed", checkpoint=checkpoint, **values)
    configs = json.dumps([whole.to_dict(), killed.to_dict()])
    run = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, configs, json.dumps([*steps, 0]), name],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert run.stdout.split() == ["9"] * kills + ["ended"], (steps, run.stderr)
    assert_same_bits(final_states(whole), final_states(killed))
    assert journal_of(killed) == journal_of(whole)
    assert journal_of(killed)[-1]["rollbacks"] == (2 if name == "diverging" else 0)
