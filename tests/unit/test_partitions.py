"""Histories partitioned by user: what is written is read back, one user at a time, whatever the users are called."""

import os
import sys
from pathlib import Path

import pytest

from preloader.errors import HistoryError
from preloader.events import Event
from preloader.history import group_sessions, load_sessions, order_sessions
from preloader.history.partition_names import directory_of, user_of
from preloader.history.partitions import PartitionedHistory, write_partitions
from preloader.history.sorting import by_user
from preloader.history.splits import SplitRule
from preloader.testing import random_events

pytest.importorskip("pyarrow")

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "nul\0byte",
    "Ann",
    "ann",
    "ANN",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "用户",
    "user=ann",
    "%2E%2E",
    "~",
    "x" * 5_000,
    "x" * 5_001,
    "é" * 300,
    "con",
    " ",
    "a b\n",
    "__HIVE_DEFAULT_PARTITION__",
]


def event(user, at=0.0, **fields):
    return Event(user=user, session="s", time_s=at, action="a", **fields)


def test_what_is_written_is_read_back_in_the_same_order(tmp_path):
    events = random_events(seed=3, users=5, sessions=3)
    assert write_partitions(events, tmp_path / "h", run_events=37) == len(events)
    read = load_sessions(tmp_path / "h")
    assert order_sessions(read, SplitRule()) == order_sessions(group_sessions(events), SplitRule())
    history = PartitionedHistory(tmp_path / "h")
    sessions = group_sessions(events)
    for user in {one.user for one in sessions}:
        assert history.sessions(user) == [one for one in sessions if one.user == user]


def test_events_come_user_by_user_in_their_own_order_however_small_the_runs_are(tmp_path):
    events = [event(f"u{number * 7 % 10}", at=float(number)) for number in range(200)]
    for run_events in (1, 3, 1_000):  # 200 runs need two rounds of merging
        scratch = tmp_path / str(run_events)
        scratch.mkdir()
        assert list(by_user(events, scratch, run_events)) == sorted(events, key=lambda one: one.user)
        assert not list(scratch.iterdir())


def test_hostile_users_stay_apart_and_beneath_the_root(tmp_path):
    root = tmp_path / "deep" / "history"
    root.parent.mkdir()
    write_partitions([event(user, at=float(at)) for at, user in enumerate(HOSTILE)], root)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in root.parent.iterdir()] == ["history"]
    names = [path.name for path in root.iterdir()]
    assert len({name.lower() for name in names}) == len(HOSTILE)  # apart where case does not count, too
    assert all(name.isascii() and len(name) <= 200 for name in names)
    history = PartitionedHistory(root)
    assert {partition.user for partition in history.partitions()} == set(HOSTILE)
    for at, user in enumerate(HOSTILE):
        assert history.sessions(user)[0].events == (event(user, at=float(at)),)


@pytest.mark.parametrize("user", HOSTILE)
def test_a_directory_says_whose_it_is_unless_the_name_was_cut(user):
    name = directory_of(user)
    assert user_of(name) == (user if len(user) < 60 else None)


def test_reading_one_user_opens_no_other_users_file(tmp_path):
    write_partitions(random_events(seed=1, users=20, sessions=1, length=3), tmp_path / "h")
    opened: list[str] = []
    listening = True

    def hook(name, arguments):
        if listening and name in ("open", "os.scandir") and isinstance(arguments[0], str | os.PathLike):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    history = PartitionedHistory(tmp_path / "h")
    users = [partition.user for partition in history.partitions()]
    assert len(users) == 20
    assert not [name for name in opened if name.endswith(".parquet")]
    for part in tmp_path.glob("h/*/*.parquet"):  # pyarrow opens files where no hook sees it: damage all others
        if "user=user7" not in str(part):
            part.write_bytes(b"damaged")
    opened.clear()
    assert len(history.sessions("user7")) == 1
    listening = False
    beneath = {Path(name).relative_to(tmp_path / "h").parts[:1] for name in opened if name.startswith(str(tmp_path))}
    assert beneath <= {("user=user7",)}


def test_somebody_elses_event_in_a_partition_is_refused(tmp_path):
    write_partitions([event("ann"), event("bob")], tmp_path / "h")
    (tmp_path / "h/user=bob/part-00000.parquet").replace(tmp_path / "h/user=ann/part-00001.parquet")
    with pytest.raises(HistoryError, match="an event of 'bob' is in the partition of 'ann'"):
        PartitionedHistory(tmp_path / "h").sessions("ann")


def test_links_are_not_followed(tmp_path):
    write_partitions([event("ann")], tmp_path / "h")
    write_partitions([event("bob")], tmp_path / "other")
    (tmp_path / "h/user=bob").symlink_to(tmp_path / "other/user=bob")
    (tmp_path / "h/user=ann/part-00001.parquet").symlink_to(tmp_path / "other/user=bob/part-00000.parquet")
    assert [session.user for session in load_sessions(tmp_path / "h")] == ["ann"]
    assert [partition.user for partition in PartitionedHistory(tmp_path / "h").partitions()] == ["ann"]


def test_a_user_who_is_not_there_and_a_directory_that_is_none_are_told(tmp_path):
    write_partitions([event("ann")], tmp_path / "h")
    with pytest.raises(HistoryError, match="no partition of user 'bob'"):
        PartitionedHistory(tmp_path / "h").sessions("bob")
    with pytest.raises(HistoryError, match="not a directory that is partitioned"):
        PartitionedHistory(tmp_path)
    (tmp_path / "h/user=Bob").mkdir()
    with pytest.raises(HistoryError, match="'user=Bob' is not how"):
        list(PartitionedHistory(tmp_path / "h").partitions())


def test_nothing_is_left_where_reading_fails_and_nothing_is_replaced(tmp_path):
    def failing():
        yield event("ann")
        raise HistoryError("no more")

    with pytest.raises(HistoryError, match="no more"):
        write_partitions(failing(), tmp_path / "h")
    assert not list(tmp_path.iterdir())
    write_partitions([event("ann")], tmp_path / "h")
    with pytest.raises(HistoryError, match="is there already"):
        write_partitions([event("bob")], tmp_path / "h")
