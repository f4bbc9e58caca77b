"""Logs that the user downloads: read as published, block by block, in the order of time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import EVENTS, FILES, criteo_line, write

from beam_jobs.options import ReplayOptions
from beam_jobs.replay import replay
from stream_prune import datasets
from stream_prune.cli.main import run
from stream_prune.datasets import gowalla, own_download, time_order
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError, RunError

NAMES = tuple(FILES)


def prepared(name: str, folder: Path, rows: int | None = None) -> pa.Table:
    FILES[name](folder)
    paths = datasets.load(name).prepare(folder, rows)
    return pa.concat_tables([pq.read_table(path) for path in paths])


@pytest.mark.parametrize("name", NAMES)
def test_every_event_is_there_in_the_order_of_time_and_passes_validation(
    name: str, tmp_path: Path
) -> None:
    spec = datasets.load(name).SPEC
    stream = prepared(name, tmp_path)
    assert stream.num_rows == EVENTS[name]
    times = stream[spec.event_time].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()
    encoded = encode(spec, stream.combine_chunks().to_batches()[0])
    assert encoded.reasons == []
    assert not list(tmp_path.glob(".sort-*"))


@pytest.mark.parametrize("name", NAMES)
def test_small_blocks_and_short_stretches_give_the_same_events(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = prepared(name, tmp_path / "a")
    monkeypatch.setattr(own_download, "BLOCK_BYTES", 700)  # more than the longest line
    ordered = time_order.in_time_order

    def short(*given, **others):
        return ordered(*given, **others, rows=7, step_ms=1000)

    for module in (datasets.load(name), datasets.movielens, datasets.lightgcn_format):
        if hasattr(module, "in_time_order"):
            monkeypatch.setattr(module, "in_time_order", short)
    assert prepared(name, tmp_path / "b").equals(at_once)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_told_which_file_of_which_archive_is_expected(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        datasets.load(name).prepare(tmp_path)
    message, download = str(caught.value), getattr(datasets.load(name), "DOWNLOAD", None)
    assert message.startswith(f"{tmp_path}: there is no ")
    assert f"the data set {name} is read from your own download of " in message
    assert download is not None
    assert download.archive in message
    assert download.source in message


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_another_layout_is_told_what_is_expected(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in files:
        whole = path.read_bytes()
        write(path, "nothing;of,the kind\n" * 3)
        with pytest.raises(RunError) as caught:
            datasets.load(name).prepare(tmp_path)
        assert str(path) in str(caught.value)
        assert "expected" in str(caught.value)
        assert datasets.load(name).DOWNLOAD.archive in str(caught.value)
        assert not list(tmp_path.rglob(".*"))  # nothing is left half-written
        path.write_bytes(whole)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_rows_are_those_of_the_whole_stream(name: str, tmp_path: Path) -> None:
    whole = prepared(name, tmp_path)
    few = pa.concat_tables([pq.read_table(p) for p in datasets.load(name).prepare(tmp_path, 5)])
    expected = whole.slice(0, 5)
    if name == "criteo-1tb":  # of each day
        expected = pa.concat_tables([expected, whole.slice(10, 5)])
    assert few.equals(expected)


def test_where_two_folders_have_the_file_one_has_to_be_named(tmp_path: Path) -> None:
    for name in ("ml-20m", "ml-25m"):
        FILES["ml-25m"](tmp_path / name)
    with pytest.raises(ConfigError, match=r"ratings.csv lies in .*ml-20m, .*ml-25m: name the fold"):
        datasets.load("ml-25m").prepare(tmp_path)
    (path,) = datasets.load("ml-25m").prepare(tmp_path / "ml-25m")
    assert path.parent == tmp_path / "ml-25m"


def test_what_was_prepared_is_made_anew_when_the_download_changes(tmp_path: Path) -> None:
    FILES["criteo-kaggle"](tmp_path)
    (path,) = datasets.load("criteo-kaggle").prepare(tmp_path)
    before = path.stat().st_mtime_ns
    datasets.load("criteo-kaggle").prepare(tmp_path)
    assert path.stat().st_mtime_ns == before
    write(tmp_path / "dac" / "train.txt", criteo_line(1, 7))
    datasets.load("criteo-kaggle").prepare(tmp_path)
    assert pq.read_metadata(path).num_rows == 1


def test_criteos_values_are_as_published(tmp_path: Path) -> None:
    rows = prepared("criteo-kaggle", tmp_path).slice(5, 1).to_pylist()[0]
    assert (rows["label"], rows["I1"], rows["I2"], rows["I3"]) == (1, 5, -1, None)
    assert (rows["C1"], rows["C2"], rows["C26"]) == ("00000005", None, "68fd1e64")
    days = prepared("criteo-1tb", tmp_path / "days")
    assert days["label"].to_pylist() == [0] * 10 + [1] * 20
    first, last = (days["time"][i].as_py() for i in (0, 10))
    assert (last - first).days == 2


def test_a_line_that_is_cut_short_is_told_with_its_place(tmp_path: Path) -> None:
    FILES["criteo-kaggle"](tmp_path)
    path = tmp_path / "dac" / "train.txt"
    path.write_text(path.read_text() + "1\t2\t3\n")
    expected = r"Expected 40 columns, got 3.*expected 40 values \(label, I1.*\) between tabs"
    with pytest.raises(RunError, match=expected):
        datasets.load("criteo-kaggle").prepare(tmp_path)


def test_movielens_knows_years_genres_and_users(tmp_path: Path) -> None:
    first = prepared("ml-1m", tmp_path / "1m").to_pylist()[0]  # the last line of the file
    assert (first["user"], first["item"], first["liked"]) == (3, 1194, 1)
    assert first["genres"] == ["Animation", "Children's"]
    assert (first["release_year"], first["gender"], first["zip_region"]) == (1990, "M", "5")
    rows = prepared("ml-20m", tmp_path / "20m").to_pylist()
    years = {row["item"]: (row["release_year"], row["genres"]) for row in rows}
    assert years == {2: (1995, ["Comedy", "Drama"]), 3: (None, None), 4: (2001, ["Action"])}
    liked = [row["liked"] for row in rows]  # the file's last line, a rating of 5, comes first
    assert liked[:4] == [1, 1, 1, 0]


def test_a_headline_that_was_shown_is_an_event_with_the_readers_last_articles(
    tmp_path: Path,
) -> None:
    rows = prepared("mind", tmp_path).to_pylist()
    assert (rows[0]["user"], rows[0]["item"], rows[0]["clicked"]) == ("U101", "N11", 1)
    assert not rows[0]["history"]
    assert [row["clicked"] for row in rows[1:4]] == [0, 1, 0]
    assert rows[1]["history"] == [f"N{i}" for i in range(6, 26)]
    assert (rows[1]["category"], rows[1]["hour"]) == ("sports", 9)
    assert rows[-1]["category"] is None  # N99 is not in the catalogue


def test_a_test_set_without_clicks_is_refused(tmp_path: Path) -> None:
    FILES["mind"](tmp_path)
    write(tmp_path / "behaviors.tsv", "1\tU1\t11/11/2019 9:05:58 AM\tN11\tN12 N13\n")
    with pytest.raises(RunError, match="'N12': expected headlines with what became of them"):
        datasets.load("mind").prepare(tmp_path)


def test_kuairands_logs_are_merged_by_time(tmp_path: Path) -> None:
    rows = prepared("kuairand", tmp_path).to_pylist()
    assert [row["is_rand"] for row in rows[10:14]] == [0, 1, 0, 1]
    assert rows[0]["fans_user_num_range"] == "[100,1k)"
    assert "long_view" not in rows[0]


@pytest.mark.parametrize(
    ("file", "text", "how"),
    [
        ("README.txt", "Summary\n=======\n\nThis dataset (ml-25m) describes", "README.txt beside"),
        ("ratings.csv", "162541,50872,4.5,1240953372\n", "its last user is 162541"),
    ],
)
def test_releases_that_are_laid_out_alike_are_told_apart(
    file: str, text: str, how: str, tmp_path: Path
) -> None:
    FILES["ml-25m"](tmp_path)
    with (tmp_path / file).open("a") as out:
        out.write(text)
    with pytest.raises(RunError, match="belongs to ml-25m, not to ml-20m") as caught:
        datasets.load("ml-20m").prepare(tmp_path)
    assert how in str(caught.value)
    assert "fetch it as ml-25m" in str(caught.value)
    assert "your own download of ml-20m.zip" in str(caught.value)
    assert datasets.load("ml-25m").prepare(tmp_path)


def test_a_release_that_is_not_read_here_is_named(tmp_path: Path) -> None:
    FILES["ml-25m"](tmp_path)
    write(tmp_path / "README.txt", "This dataset (ml-latest-small) describes")
    with pytest.raises(RunError, match="belongs to ml-latest-small, not to ml-25m"):
        datasets.load("ml-25m").prepare(tmp_path)


def test_pairs_in_lightgcns_format_get_negatives_that_the_user_does_not_have(
    tmp_path: Path,
) -> None:
    rows = prepared("gowalla", tmp_path).to_pylist()
    taken = {(row["user"], row["item"]) for row in rows if row["taken"]}
    others = [(row["user"], row["item"]) for row in rows if not row["taken"]]
    assert len(taken) == 18
    assert len(others) == 8  # user 3 has every item
    assert not taken & set(others)
    train, test = gowalla.pairs(tmp_path)
    assert (train.users, train.items, len(train), len(test)) == (5, 10, 18, 4)
    assert set(zip(train.user.tolist(), train.item.tolist(), strict=True)) == taken


def test_a_download_goes_through_the_replay_job(tmp_path: Path) -> None:
    FILES["mind"](tmp_path)
    assert run(["datasets", "fetch", "mind", str(tmp_path), "--rows", "20"]) == 0
    options = ReplayOptions(
        files=(str(tmp_path / "mind-20.parquet"),),
        spec=datasets.load("mind").SPEC,
        log=tmp_path / "log",
        window_ms=86_400_000,
    )
    counts = replay(options)
    assert counts.good == 20


def test_a_wrong_folder_is_one_line_for_the_user(tmp_path: Path, capsys) -> None:
    assert run(["datasets", "fetch", "avazu", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "there is no train.gz or train.csv or train" in said
    assert "avazu-ctr-prediction.zip" in said
