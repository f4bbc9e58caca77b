"""Following: verified versions only, one in place of the other, and a way back."""

import json
import shutil
import threading

import numpy as np
import pytest
from requests_v2 import URL, good, scores, serving, tensors
from small_model import raw_rows

from serving.config import Following
from serving.follow import Follower
from serving.model_slot import ModelSlot
from serving.source import FolderSource
from stream_prune.artifact import Scorer, read_manifest
from stream_prune.errors import RunError


@pytest.fixture
def link(written, tmp_path):
    """A link to the artifact that is to be served."""
    (tmp_path / "live").symlink_to(written)
    return tmp_path / "live"


def point(link, folder):
    """Move a link in one step."""
    draft = link.with_name("draft")
    draft.symlink_to(folder)
    draft.rename(link)


def following(link, every_s=0.0):
    follower = Follower(ModelSlot("ctr"), FolderSource(link), Following(every_s=every_s))
    follower.look()
    return follower


def value(slot, name):
    return slot.metrics.registry.get_sample_value(f"stream_prune_{name}")


def version_of(folder):
    return read_manifest(folder).digest[:12]


def test_the_model_is_changed_when_the_link_moves_and_not_before(link, written, other):
    follower = following(link)
    first = follower.slot.live
    assert first.version == version_of(written)
    assert follower.look(told=False) is first
    point(link, other)
    assert follower.look(told=False).version == version_of(other)
    assert follower.slot.previous is first
    assert value(follower.slot, "model_swaps_total") == 2


def test_a_damaged_version_is_never_served_and_the_alert_says_so(link, written, other, tmp_path):
    follower = following(link)
    slot, damaged = follower.slot, shutil.copytree(other, tmp_path / "damaged")
    content = bytearray((damaged / "head.safetensors").read_bytes())
    content[-3] ^= 1
    (damaged / "head.safetensors").write_bytes(content)
    point(link, damaged)
    with pytest.raises(RunError, match=r"head\.safetensors has changed"):
        follower.look(told=False)
    assert slot.live.version == version_of(written)
    assert (value(slot, "model_rejected"), value(slot, "model_rejections_total")) == (1, 1)
    # It is left alone, as long as nobody asks for it.
    assert follower.look(told=False).version == version_of(written)
    assert value(slot, "model_rejections_total") == 1
    with pytest.raises(RunError):
        follower.look()
    point(link, other)  # the same version, whole
    assert follower.look().version == version_of(other)
    assert value(slot, "model_rejected") == 0


def test_a_source_that_is_gone_is_counted_and_the_model_goes_on(link, written):
    follower = following(link)
    link.unlink()
    with pytest.raises(RunError):
        follower.look(told=False)
    assert value(follower.slot, "follow_failures_total") == 1
    assert follower.slot.live.version == version_of(written)


def test_after_a_rollback_the_version_stays_until_the_alias_moves(link, written, other):
    follower = following(link)
    point(link, other)
    follower.look()
    assert follower.roll_back().version == version_of(written)
    assert follower.look(told=False).version == version_of(written)
    assert follower.look().version == version_of(other)


def test_rollback_and_load_by_post(link, written, other):
    follower = following(link)
    with serving(follower.slot, follower=follower) as client:
        refused = client.post("/v2/repository/models/ctr/rollback")
        assert refused.status_code == 409
        assert "no earlier version" in refused.json()["error"]
        point(link, other)
        loaded = client.post("/v2/repository/models/ctr/load").json()
        assert loaded == {"name": "ctr", "version": version_of(other)}
        back = client.post("/v2/repository/models/ctr/rollback").json()
        assert back == {"name": "ctr", "version": version_of(written)}
        states = {m["version"]: m["state"] for m in client.post("/v2/repository/index").json()}
        assert states == {version_of(written): "READY", version_of(other): "UNAVAILABLE"}
        # both may be asked for by name, and no other
        url = "/v2/models/ctr/versions/{}/infer"
        for folder in (written, other):
            answer = client.post(url.format(version_of(folder)), json={"inputs": good()})
            assert answer.json()["model_version"] == version_of(folder)
        assert client.post(url.format("none"), json={"inputs": good()}).status_code == 404
        link.unlink()
        failed = client.post("/v2/repository/models/ctr/load")
        assert failed.status_code == 409
        assert str(link) not in failed.text


def test_under_load_no_request_fails_and_every_score_is_of_the_version_named(link, written, other):
    """The small twin of what benchmarks/serving.py does with 10,000 requests and 20 versions."""
    rows = raw_rows(3, seed=2)
    body = json.dumps({"inputs": tensors(rows.to_pydict())})
    expected = {version_of(f): Scorer.load(f).score(rows) for f in (written, other)}
    assert not np.allclose(*expected.values())
    follower = following(link, every_s=0.02)
    seen, wrong, done = set(), [], threading.Event()

    with serving(follower.slot, follower=follower) as client:

        def ask():
            while not done.is_set():
                answer = client.post(URL, content=body, headers={"content-type": "text/json"})
                found, version = scores(answer), answer.json()["model_version"]
                seen.add(version)
                if not np.allclose(found, expected[version], atol=1e-6):
                    wrong.append((version, found))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(6):
            target = (other, written)[turn % 2]
            point(link, target)
            while follower.slot.live.version != version_of(target):
                pass
        done.set()
        for thread in threads:
            thread.join()
        told = {
            code: client.get("/metrics").text.count(f'code="{code}",route="infer"')
            for code in (200, 429, 500)
        }
    assert wrong == []
    assert seen == set(expected)
    assert told[200] > 0
    assert told[500] == told[429] == 0
    assert value(follower.slot, "model_swaps_total") == 1 + 6
    assert value(follower.slot, "model_rejections_total") == 0
