"""Small files laid out exactly as the publishers of the large logs lay theirs out."""

from __future__ import annotations

import gzip
from pathlib import Path


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def criteo_line(label: int, row: int) -> str:
    counts = [str(row), "-1", "", *(["5"] * 10)]
    categories = [f"{row:08x}", "", *(["68fd1e64"] * 24)]
    return "\t".join([str(label), *counts, *categories]) + "\n"


def criteo_kaggle(folder: Path) -> None:
    write(folder / "dac" / "train.txt", "".join(criteo_line(i % 2, i) for i in range(30)))


def criteo_1tb(folder: Path) -> None:
    write(folder / "day_0.gz", "".join(criteo_line(0, i) for i in range(10)))
    write(folder / "day_2", "".join(criteo_line(1, i) for i in range(20)))


AVAZU = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,"
    "device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
)


def avazu(folder: Path) -> None:
    lines = [
        f"1000009418151094273{i},{i % 2},1410210{i // 10},1005,0,1fbe01fe,f3845767,28905ebd,"
        "ecad2386,7801e8d9,07d7df22,a99f214a,ddd2926e,44956a24,1,2,15706,320,50,1722,0,35,-1,79"
        for i in range(30)
    ]
    write(folder / "train.gz", "\n".join([AVAZU, *lines]) + "\n")


def ml_1m(folder: Path) -> None:
    inside = folder / "ml-1m"
    ratings = [f"{1 + i % 3}::{1193 + i % 2}::{1 + i % 5}::{978_300_000 - i}" for i in range(30)]
    write(inside / "ratings.dat", "\n".join(ratings) + "\n")
    films = '1193::Cité: a story, "quoted" (1975)::Drama\n1194::B (1990)::Animation|Children\'s\n'
    write(inside / "movies.dat", films, "latin-1")
    write(inside / "users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n3::M::25::15::55117\n")


def _ml_csv(folder: Path) -> None:
    ratings = [f"{1 + i % 3},{2 + i % 3},{0.5 + i % 10 / 2},{1_112_486_027 - i}" for i in range(30)]
    write(folder / "ratings.csv", "\n".join(["userId,movieId,rating,timestamp", *ratings]) + "\n")
    films = (
        'movieId,title,genres\n2,"American President, The (1995)",Comedy|Drama\n'
        "3,Untitled,(no genres listed)\n4,C (2001) ,Action\n"
    )
    write(folder / "movies.csv", films)


def ml_20m(folder: Path) -> None:
    _ml_csv(folder / "ml-20m")


def ml_25m(folder: Path) -> None:
    _ml_csv(folder)


def mind(folder: Path) -> None:
    history = " ".join(f"N{i}" for i in range(1, 26))
    lines = [
        f"1\tU100\t11/11/2019 9:05:58 AM\t{history}\tN11-0 N12-1 N13-0",
        "2\tU101\t11/9/2019 12:00:01 AM\t\tN11-1",
        *(f"{i}\tU{i}\t11/12/2019 1:00:0{i} PM\tN11\tN12-0 N13-1 N99-0" for i in range(3, 10)),
    ]
    write(folder / "behaviors.tsv", "\n".join(lines) + "\n")
    news = [
        f'N{i}\tsports\tgolf\tA "title"\tAn abstract\thttps://x/{i}.html\t[]\t[]'
        for i in (11, 12, 13)
    ]
    write(folder / "news.tsv", "\n".join(news) + "\n")


KUAIRAND = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab"
)
KUAIRAND_USERS = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,"
    "friend_user_num_range,register_days,register_days_range,"
    + ",".join(f"onehot_feat{i}" for i in range(18))
)


def kuairand(folder: Path) -> None:
    data = folder / "KuaiRand-Pure" / "data"

    def log(first: int, rand: int) -> str:
        rows = [
            f"{i % 3},{i},20220421,400,{first - 1000 * i},{i % 2},0,0,0,0,0,0,151024,104400,0,0,0,"
            f"{rand},1"
            for i in range(10)
        ]
        return "\n".join([KUAIRAND, *rows]) + "\n"

    write(data / "log_random_4_22_to_5_08_pure.csv", log(1_650_985_801_301, 1))
    write(data / "log_standard_4_08_to_4_21_pure.csv", log(1_650_485_801_301, 0))
    write(data / "log_standard_4_22_to_5_08_pure.csv", log(1_650_985_800_801, 0))
    users = [
        f'{i},full_active,0,0,1,5,"(0,10]",312,"[100,1k)",0,0,3624,730+,' + ",".join("1" * 18)
        for i in range(3)
    ]
    write(data / "user_features_pure.csv", "\n".join([KUAIRAND_USERS, *users]) + "\n")


def lightgcn(folder: Path) -> None:
    # Lines may end with a space, and a user may have nothing.
    write(folder / "train.txt", "0 0 1 2 3\n1 3 4 \n2\n3 0 1 2 3 4 5 6 7 8 9\n4 7 8\n")
    write(folder / "test.txt", "0 4\n1 9\n4 5 6\n")


FILES = {
    "amazon-book": lightgcn,
    "avazu": avazu,
    "criteo-1tb": criteo_1tb,
    "criteo-kaggle": criteo_kaggle,
    "gowalla": lightgcn,
    "kuairand": kuairand,
    "mind": mind,
    "ml-1m": ml_1m,
    "ml-20m": ml_20m,
    "ml-25m": ml_25m,
    "yelp2018": lightgcn,
}
"""What writes the files of each data set that the user downloads."""

EVENTS = {
    "amazon-book": 26,
    "avazu": 30,
    "criteo-1tb": 30,
    "criteo-kaggle": 30,
    "gowalla": 26,
    "kuairand": 30,
    "mind": 25,
    "ml-1m": 30,
    "ml-20m": 30,
    "ml-25m": 30,
    "yelp2018": 26,
}
