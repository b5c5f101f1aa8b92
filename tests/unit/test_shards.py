"""Shards: what they hold, that they are kept, made anew when they must be, and never half written."""

import signal
import subprocess
import sys
from itertools import groupby
from operator import attrgetter

import msgspec
import numpy as np
import pytest

from preloader.errors import ConfigurationError, HistoryError, WorkError
from preloader.history import Session, group_sessions
from preloader.history.partition_names import directory_of
from preloader.learning.shards import Shards, write_shards
from preloader.testing import random_events


class Held(msgspec.Struct, frozen=True):
    """A user's history in memory."""

    user: str
    held: tuple[Session, ...]

    def sessions(self):
        return list(self.held)


def users_of(sessions):
    return [Held(user, tuple(own)) for user, own in groupby(sessions, key=attrgetter("user"))]


USERS = users_of(sorted(group_sessions(random_events(seed=2, users=4, sessions=2, length=6)), key=attrgetter("user")))
RECIPE = {"features": 1}


def features(sessions):
    times = np.array([event.time_s for session in sessions for event in session.events])
    return {"times": times, "pairs": np.stack([times, -times], axis=1).astype(np.float32)}


def none(sessions):
    return {"times": np.zeros(0), "pairs": np.zeros((0, 2), np.float32)}


def some(sessions):
    return none(sessions) if sessions[0].user == "user1" else features(sessions)


def refuse(sessions):
    raise AssertionError("a shard was made again")


def fail(sessions):
    if sessions[0].user == "user2":
        raise ValueError("no")
    return features(sessions)


def test_shards_are_one_table_of_all_users(tmp_path):
    shards = write_shards(tmp_path / "shards", USERS, features, RECIPE)
    whole = np.concatenate([features(user.sessions())["times"] for user in USERS])
    assert len(shards) == len(whole) == 48
    rows = [40, 3, 3, 17, 47, 0]
    batch = shards.take(rows)
    assert np.array_equal(batch["times"], whole[rows])
    assert batch["pairs"].shape == (6, 2)
    assert batch["pairs"].dtype == np.float32
    assert np.array_equal(shards.of("user2")["times"], features(USERS[2].sessions())["times"])
    assert isinstance(shards.of("user2")["times"], np.memmap)
    assert np.array_equal(shards.take(range(24, 36))["times"], shards.of("user2")["times"])
    with pytest.raises(IndexError):
        shards.take([48])


def test_a_user_without_rows_has_an_empty_shard(tmp_path):
    shards = write_shards(tmp_path, USERS, some, RECIPE)
    assert len(shards) == 36
    assert len(shards.of("user1")["times"]) == 0
    rows = shards.take(range(36))["times"]
    assert np.array_equal(rows, np.concatenate([some(user.sessions())["times"] for user in USERS]))


def test_finished_shards_are_kept_and_changed_ones_made_anew(tmp_path):
    write_shards(tmp_path, USERS, features, RECIPE)
    write_shards(tmp_path, USERS, refuse, RECIPE)
    with pytest.raises(WorkError, match="user 'user0'"):
        write_shards(tmp_path, USERS, refuse, {"features": 2})
    changed = users_of([session for user in USERS for session in user.sessions()][1:])
    with pytest.raises(WorkError, match="user '"):
        write_shards(tmp_path, changed, refuse, RECIPE)
    damaged = tmp_path / directory_of("user3") / "pairs.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x01")
    with pytest.raises(WorkError, match="user 'user3'"):
        write_shards(tmp_path, USERS, refuse, RECIPE)
    write_shards(tmp_path, USERS, features, RECIPE)
    write_shards(tmp_path, USERS, refuse, RECIPE)


def test_a_failure_keeps_the_shards_of_other_users(tmp_path):
    with pytest.raises(WorkError, match="user 'user2': ValueError: no"):
        write_shards(tmp_path, USERS, fail, RECIPE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["user=user0", "user=user1"]


SLOW = """
import sys, time
from tests.unit.test_shards import RECIPE, USERS, features, write_shards
def slow(sessions):
    if sessions[0].user == "user2":
        print("begun", flush=True)
        time.sleep(60)
    return features(sessions)
write_shards(sys.argv[1], USERS, slow, RECIPE)
"""


def test_what_was_finished_outlives_a_kill(tmp_path):
    with subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    (tmp_path / ".user=user2.1.part").mkdir()  # what a kill while writing leaves
    kept = {path: path.stat().st_ino for path in tmp_path.glob("user=*/*")}
    assert {path.parent.name for path in kept} == {"user=user0", "user=user1"}
    shards = write_shards(tmp_path, USERS, features, RECIPE)
    assert len(shards) == 48
    assert {path: path.stat().st_ino for path in kept} == kept
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "arrays",
    [
        {"../x": np.zeros(1)},
        {"x": np.zeros(1), "y": np.zeros(2)},
        {"x": np.array([None])},
        {"x": np.float64(1.0)},
        {},
    ],
)
def test_what_cannot_be_a_shard_is_refused(tmp_path, arrays):
    with pytest.raises(ConfigurationError, match=r"user 'user0': .*(shard)"):
        write_shards(tmp_path, USERS[:1], lambda sessions: arrays, RECIPE)
    assert not list(tmp_path.iterdir())


def test_a_damaged_shard_is_not_read(tmp_path):
    write_shards(tmp_path, USERS, features, RECIPE)
    place = tmp_path / directory_of("user0")
    for name, content in (("times.npy", b"\x93NUMPY"), ("shard.json", b'{"user": "user0"}')):
        (place / name).write_bytes(content)
        with pytest.raises(HistoryError, match="anew"):
            Shards(tmp_path, [("user0", 12)]).of("user0")
