"""The event log: what it keeps, what it refuses, and what is really gone from its files."""

from __future__ import annotations

import random
import sqlite3
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from preloader.errors import ClosedError, ConfigurationError, HistoryError
from preloader.events import Event
from preloader.history import READERS, detect, read
from preloader.history.log import EventLog
from preloader.history.redact import keep_words, redact_event

WORDS = "please water the xylophonic begonias"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def event(number: int = 0, user: str = "ada", text: str | None = None, **more) -> Event:
    return Event(user=user, session="s1", time_s=1_000.0 + number, action=f"act{number}", text=text, **more)


def bytes_on_disk(path: Path) -> bytes:
    """Everything that the log has on disk now, -wal and -shm included."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def test_events_come_back_whole_and_in_order(path: Path) -> None:
    full = event(1, resources=("component:tts", "file:a b.py"), duration_s=0.5, ok=False, context={"place": "hall"})
    with EventLog(path) as log:
        log.append(event(2))  # the order is that of appending, not of the times
        log.append([full, event(0, user="ben")])
        assert list(log.events()) == [event(2), full, event(0, user="ben")]
        assert len(log) == 3
    with EventLog(path) as log:
        assert [one.action for one in log.events()] == ["act2", "act1", "act0"]


def test_events_are_chosen_by_user_and_time(path: Path) -> None:
    with EventLog(path) as log:
        log.append(event(number, user=user) for number, user in enumerate(["ada", "ben", "ada", "ben"]))
        assert [one.action for one in log.events(user="ben")] == ["act1", "act3"]
        assert [one.action for one in log.events(since_s=1_001.0)] == ["act1", "act2", "act3"]
        assert [one.action for one in log.events("ada", since_s=1_001.0)] == ["act2"]
        assert list(log.events(user="nobody")) == []


def test_an_iteration_streams_past_one_page_and_stops_at_what_was_there(path: Path) -> None:
    with EventLog(path) as log:
        log.append(event(number) for number in range(2_500))
        seen = []
        for one in log.events():
            seen.append(one.action)
            if len(seen) % 500 == 0:
                log.append(event(9_999))  # a writer in the middle neither deadlocks nor prolongs it
        assert seen == [f"act{number}" for number in range(2_500)]


def test_buffered_events_are_stored_by_flush_and_before_a_later_append(path: Path) -> None:
    with EventLog(path) as log:
        log.buffer(event(0))
        assert (log.buffered, len(log)) == (1, 0)
        log.flush()
        assert (log.buffered, len(log)) == (0, 1)
        log.buffer(event(1))
        log.append(event(2))
        log.buffer(event(3))
    with EventLog(path) as log:  # closing flushed the last
        assert [one.action for one in log.events()] == ["act0", "act1", "act2", "act3"]


@pytest.mark.parametrize(
    "bad",
    [
        event(text="\ud800"),
        event(resources=("no key",)),
        msgspec.structs.replace(event(), time_s=float("nan")),
        msgspec.structs.replace(event(), time_s=-1.0),
        msgspec.structs.replace(event(), user=7),
    ],
    ids=["surrogate", "key", "nan", "before 1970", "user"],
)
def test_a_malformed_event_is_refused_and_its_batch_with_it(path: Path, bad: Event) -> None:
    with EventLog(path) as log:
        with pytest.raises(HistoryError, match=r"act0.*cannot be logged"):
            log.append([event(1), bad])
        with pytest.raises(HistoryError, match=r"act0.*cannot be logged"):
            log.buffer(bad)
        log.append(event(2))
        assert [one.action for one in log.events()] == ["act2"]


def test_a_failed_flush_keeps_what_is_buffered_and_a_failed_append_does_not(path: Path) -> None:
    with EventLog(path, timeout_s=0.05) as log:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        log.buffer(event(0))
        with pytest.raises(HistoryError, match=r"events\.db: is locked by another process"):
            log.flush()
        with pytest.raises(HistoryError, match="is locked"):
            log.append(event(1))
        other.execute("ROLLBACK")
        other.close()
        log.append(event(2))
        assert [one.action for one in log.events()] == ["act0", "act2"]


def test_the_files_are_for_their_owner_alone(path: Path) -> None:
    with EventLog(path) as log:
        log.append(event())
        files = list(path.parent.iterdir())
        assert {file.name for file in files} == {"events.db", "events.db-wal", "events.db-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    path.chmod(0o644)
    with EventLog(path) as log:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        out = path.parent / "out.jsonl"
        log.export(out)
        assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_words_are_redacted_before_they_reach_the_disk(path: Path) -> None:
    with EventLog(path) as log:
        log.append(event(text="mail rosa@example.org", context={"screen": "Inbox of rosa@example.org", "volume": 3}))
        log.buffer(event(text="token=hunter2hunter2"))
        log.flush()
        assert [one.text for one in log.events()] == ["mail <email>", "token=<secret>"]
        assert next(log.events()).context == {"screen": "Inbox of <email>", "volume": 3}
        assert b"rosa" not in bytes_on_disk(path)
        assert b"hunter2" not in bytes_on_disk(path)
    with EventLog(path, redact=keep_words) as log:
        log.append(event(text="rosa@example.org"))
        assert [one.text for one in log.events()][-1] == "rosa@example.org"


def fill(log: EventLog, count: int = 1_500) -> None:
    """Events of many lengths and users."""
    draw = random.Random(3)
    users = ("ben", "ada", "mallory", "nora", "zed")
    log.append(
        event(number, user=draw.choice(users), text=f"{WORDS} {number} end " * draw.randint(1, 30))
        for number in range(count)
    )


def test_purge_leaves_no_byte_of_a_user(path: Path) -> None:
    with EventLog(path) as log:
        fill(log)
        log.buffer(event(text="buffered words", user="mallory"))
        assert b"mallory" in bytes_on_disk(path)
        gone = list(log.events("mallory"))
        kept = len(log) - len(gone)
        assert log.purge("mallory") == len(gone) + 1
        remaining = bytes_on_disk(path)
        assert not [one.text for one in gone if one.text.split("end")[0].encode() in remaining]
        assert b"buffered words" not in remaining
        assert b"mallory" not in remaining
        assert len(log) == kept
        log.append(event(1, user="ben"))  # and it goes on
        assert len(log) == kept + 1
        assert log.purge("mallory") == 0


@pytest.mark.parametrize("seed", range(3))
def test_purge_leaves_no_copy_that_a_moving_cell_left_behind(path: Path, seed: int) -> None:
    """With SQLite's own secure_delete alone, each of these seeds leaves the name in the file several times."""
    draw, users = random.Random(seed), ("ada", "zed", *["mallory"] * 5)
    with EventLog(path) as log:
        log.append(event(number, user=draw.choice(users)) for number in range(2_000))
        log.purge("mallory")
        assert b"mallory" not in bytes_on_disk(path)


def test_redact_texts_leaves_no_byte_of_old_words(path: Path) -> None:
    with EventLog(path) as log:
        fill(log)
        assert log.redact_texts(before_s=2_200.0) == 1_200
        assert [one.text is None for one in log.events()] == [True] * 1_200 + [False] * 300
        remaining = bytes_on_disk(path)
        stored = {number for number in range(1_500) if f"{WORDS} {number} end".encode() in remaining}
        assert stored == set(range(1_200, 1_500))
        assert log.redact_texts(before_s=2_200.0) == 0


def test_redact_texts_can_apply_a_rule_that_came_later(path: Path) -> None:
    with EventLog(path, redact=keep_words) as log:
        log.append([event(text="call rosa@example.org"), event(1, text="hello")])
        assert log.redact_texts(float("inf"), redact_event) == 1
        assert [one.text for one in log.events()] == ["call <email>", "hello"]
        assert b"rosa" not in bytes_on_disk(path)


def test_an_erasure_that_another_process_holds_up_says_so_and_can_be_repeated(path: Path) -> None:
    with EventLog(path, timeout_s=0.05) as log:
        log.append(event(text=WORDS))
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM event").fetchall()
        with pytest.raises(HistoryError, match=r"bytes stay on disk .* close that and repeat"):
            log.purge("ada")
        assert len(log) == 0
        reader.close()
        assert log.purge("ada") == 0
        assert WORDS.encode() not in bytes_on_disk(path)


def test_prune_keeps_what_is_young_and_at_most_so_many(path: Path) -> None:
    with EventLog(path, max_age_s=10.0, max_events=4) as log:
        log.append(event(number, text=f"{WORDS} {number} end") for number in range(20))
        assert log.prune(now_s=1_016.0) == 16  # 6 are too old, 10 too many
        assert [one.action for one in log.events()] == ["act16", "act17", "act18", "act19"]
        assert f"{WORDS} 15 end".encode() not in bytes_on_disk(path)
        assert log.prune(now_s=1_027.5) == 2
        log.append(event(30))
        assert [one.action for one in log.events()] == ["act18", "act19", "act30"]
    with EventLog(path) as log:
        assert log.prune(now_s=1e9) == 0  # no limits


def test_export_writes_one_event_a_line(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with EventLog(path) as log:
        log.append([event(0), event(1, user="ben", text="naïve\nlines"), event(2)])
        assert log.export(out) == 3
        assert [msgspec.json.decode(line, type=Event) for line in out.read_bytes().splitlines()] == list(log.events())
        assert log.export(out, user="ben") == 1  # replaces the file
        assert out.read_bytes().count(b"\n") == 1
        with pytest.raises(HistoryError, match="cannot be written"):
            log.export(tmp_path / "missing" / "out.jsonl")
    assert {file.name for file in tmp_path.iterdir()} == {"events.db", "out.jsonl"}


def test_a_closed_log_refuses(path: Path) -> None:
    log = EventLog(path)
    log.close()
    log.close()
    for call in (lambda: log.append(event()), lambda: log.buffer(event()), log.flush, lambda: len(log)):
        with pytest.raises(ClosedError, match=r"events\.db: the event log is closed"):
            call()


@pytest.mark.parametrize("limits", [{"max_age_s": 0.0}, {"max_events": -1}, {"max_age_s": float("nan")}])
def test_limits_must_be_positive(path: Path, limits: dict) -> None:
    with pytest.raises(ConfigurationError, match="must be positive"):
        EventLog(path, **limits)
    assert not path.exists()


def test_a_newer_log_is_refused_and_left_alone(path: Path) -> None:
    EventLog(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(HistoryError, match=r"written by a newer preloader \(schema 2, this one knows 1\): upgrade"):
        EventLog(path)
    assert path.read_bytes() == before


def test_files_that_are_no_event_log_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("just some words, more than a hundred of them " * 20)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    for file, reason in ((text, "not an SQLite database"), (foreign, "of another program")):
        before = file.read_bytes()
        with pytest.raises(HistoryError, match=f"{file.name}: is no event log: .*{reason}"):
            EventLog(file)
        assert file.read_bytes() == before
    with pytest.raises(HistoryError, match="not a regular file"):
        EventLog(tmp_path)
    with pytest.raises(HistoryError, match="its folder must exist"):
        EventLog(tmp_path / "missing" / "log.db")


def test_without_create_a_log_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"log\.db: there is no such event log"):
        EventLog(tmp_path / "log.db", create=False)
    (tmp_path / "empty.db").touch()
    with pytest.raises(HistoryError, match="or an empty one"):
        EventLog(tmp_path / "empty.db", create=False)
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_a_damaged_file_is_reported(path: Path) -> None:
    with EventLog(path) as log:
        fill(log, 100)
    pages = bytearray(path.read_bytes())
    pages[4_096 * 1 : 4_096 * 8] = b"\xff" * (4_096 * 7)
    path.write_bytes(pages)
    with EventLog(path) as log, pytest.raises(HistoryError, match=r"events\.db: is damaged"):
        list(log.events())


def test_a_malformed_record_is_named(path: Path) -> None:
    with EventLog(path) as log:
        log.append([event(0), event(1)])
        with sqlite3.connect(path) as connection:
            connection.execute("""UPDATE event SET body = '{"user": 1}' WHERE seq = 2""")
        connection.close()
        with pytest.raises(HistoryError, match=r"events\.db: event 2 is malformed: Expected `str`"):
            list(log.events())


def test_threads_share_one_log(path: Path) -> None:
    def write(user: str) -> None:
        for number in range(100):
            (log.append if number % 3 else log.buffer)(event(number, user=user))

    with EventLog(path) as log:
        threads = [threading.Thread(target=write, args=(f"user{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.flush()
        for number in range(6):
            assert [one.action for one in log.events(f"user{number}")] == [f"act{count}" for count in range(100)]
        assert len(log) == 600


def test_two_logs_on_one_file_see_each_other(path: Path) -> None:
    with EventLog(path) as first, EventLog(path) as second:
        first.append(event(0))
        second.append(event(1))
        assert list(first.events()) == list(second.events()) == [event(0), event(1)]
        assert first.purge("ada") == 2
        assert len(second) == 0


def test_many_may_create_it_at_once(tmp_path: Path) -> None:
    def write(path: Path, number: int) -> None:
        barrier.wait()
        with EventLog(path) as log:
            log.append(event(number))

    barrier = threading.Barrier(8)
    for count in range(20):
        path = tmp_path / f"events{count}.db"
        threads = [threading.Thread(target=write, args=(path, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with EventLog(path) as log:
            assert sorted(one.action for one in log.events()) == [f"act{number}" for number in range(8)]


def test_a_log_is_a_history_too(path: Path, tmp_path: Path) -> None:
    with EventLog(path) as log:
        log.append([event(0), event(1, user="ben")])
        log.flush()
    assert detect(path).name == "event-log"
    assert list(read(path)) == [event(0), event(1, user="ben")]
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    assert not READERS["event-log"].detects(tmp_path / "other.db")
    with pytest.raises(HistoryError, match=r"missing\.db: no such file"):
        list(read(tmp_path / "missing.db", "event-log"))
