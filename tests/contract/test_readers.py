"""What every reader promises, over small made-up samples of every format."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preloader.errors import HistoryError, TooManyBadRecords
from preloader.events import Event
from preloader.history import (
    READERS,
    CsvReader,
    ReadReport,
    detect,
    group_sessions,
    lines,
    load_sessions,
    read,
    sources,
    split_sessions,
    write,
)
from tests.contract.reader_samples import SAMPLES, Bad, Sample, write_parquet_sample, write_repository

each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.format)
each_bad_record = pytest.mark.parametrize(
    ("sample", "bad"),
    [pytest.param(sample, bad, id=f"{sample.format}-{i}") for sample in SAMPLES for i, bad in enumerate(sample.bad)],
)


@pytest.fixture
def written(tmp_path: Path, sample: Sample) -> Path:
    path = tmp_path / sample.file
    path.write_text(sample.text())
    return path


def told(events: list[Event]) -> tuple[tuple[str, tuple[str, ...], str | None], ...]:
    return tuple((event.action, event.resources, event.text) for event in events)


def test_every_format_has_a_sample() -> None:
    assert {sample.format for sample in SAMPLES} | {"git", "parquet", "event-log", "household"} == set(READERS)


@each_sample
def test_a_sample_becomes_exactly_these_events(written: Path, sample: Sample) -> None:
    report = ReadReport(0)
    events = list(read(written, sample.format, report))
    assert told(events) == sample.expected
    assert {event.user for event in events} == sample.users
    assert report.bad == 0
    assert report.good > 0


@each_sample
def test_every_key_is_of_a_stated_kind(written: Path, sample: Sample) -> None:
    kinds = READERS[sample.format].kinds
    if kinds:  # the package's own formats and CSV say so event by event
        assert {key.partition(":")[0] for event in read(written) for key in event.resources} <= set(kinds)


@each_sample
def test_events_of_a_session_come_in_order_of_time(written: Path, sample: Sample) -> None:
    for session in group_sessions(read(written)):
        times = [event.time_s for event in session.events]
        assert times == sorted(times)


@each_sample
def test_reading_twice_gives_the_same(written: Path, sample: Sample) -> None:
    assert list(read(written)) == list(read(written))


@each_sample
def test_compressed_files_read_the_same(written: Path, sample: Sample) -> None:
    packed = written.with_name(written.name + ".gz")
    packed.write_bytes(gzip.compress(written.read_bytes()))
    assert detect(packed).name == sample.format
    assert told(list(read(packed))) == sample.expected


@each_sample
def test_the_format_is_detected_by_its_own_reader_alone(written: Path, sample: Sample) -> None:
    assert [reader.name for reader in READERS.values() if reader.detects(written)] == [sample.format]


def test_repositories_and_tables_are_detected_by_their_own_readers_alone(tmp_path: Path) -> None:
    for path, name in ((write_repository(tmp_path / "g"), "git"), (write_parquet_sample(tmp_path / "p"), "parquet")):
        assert [reader.name for reader in READERS.values() if reader.detects(path)] == [name]


@each_sample
def test_round_trip_through_our_own_formats(written: Path, sample: Sample, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    events = list(read(written))
    for name in ("jsonl", "parquet"):
        copy = tmp_path / f"copy.{name}"
        assert write(iter(events), copy, name) == len(events)
        assert list(read(copy)) == events


@each_sample
def test_empty_files_hold_no_events(tmp_path: Path, sample: Sample) -> None:
    empty = tmp_path / sample.file
    empty.write_bytes(b"")
    assert list(read(empty, sample.format)) == []
    with pytest.raises(HistoryError, match="not a history of a known format"):
        detect(empty)


@each_bad_record
def test_a_bad_record_is_skipped_and_its_place_named(tmp_path: Path, sample: Sample, bad: Bad) -> None:
    path = tmp_path / sample.file
    path.write_text(sample.text(bad.text))
    report = ReadReport(max_bad_share=1)
    assert told(list(read(path, sample.format, report))) == sample.expected
    assert report.bad == 1
    place = report.examples[0]
    first_line = sample.text().partition(sample.records[0])[0].count("\n") + sample.records[0].count("\n") + 2
    assert place.path == str(path)
    assert first_line <= place.line <= first_line + bad.text.count("\n")
    assert place.field == bad.field
    assert bad.reason in place.reason
    assert str(place).startswith(f"{path}:{place.line}")


@each_sample
def test_too_many_bad_records_are_refused(tmp_path: Path, sample: Sample) -> None:
    path = tmp_path / sample.file
    path.write_text(sample.text(*[sample.bad[0].text] * 30))
    with pytest.raises(TooManyBadRecords, match="more than the allowed 5%"):
        list(read(path, sample.format))


@each_sample
def test_a_damaged_archive_is_one_sentence(written: Path, sample: Sample) -> None:
    packed = written.with_name("cut.gz")
    packed.write_bytes(gzip.compress(written.read_bytes() * 50)[:-40])
    with pytest.raises(HistoryError, match=r"cut\.gz: the compressed data are damaged or end early"):
        list(read(packed, sample.format, ReadReport(1)))


@each_sample
def test_overlong_lines_are_skipped_without_being_held(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 3_000)
    path = tmp_path / sample.file
    path.write_text(sample.text("x" * 10_000))
    report = ReadReport(1)
    assert told(list(read(path, sample.format, report))) == sample.expected
    assert [(place.line, place.field) for place in report.examples] == [
        (1 + sample.header.count("\n") + 1 + sample.records[0].count("\n"), "")
    ]


_hostile = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"\x00", b"\xff\xfe", b"\x83", b"\\", b'"', b"{}", b"null", b"\r", b"\xef\xbb\xbf", b": 1:1;", b"#123456789"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3)
    ).map(lambda value: repr(value).encode("utf-8", "replace")),
)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.format)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(_hostile, max_size=8), at=st.integers(0, 10_000))
def test_hostile_bytes_never_escape_as_anything_but_a_history_error(
    tmp_path: Path, sample: Sample, pieces: list[bytes], at: int
) -> None:
    good = sample.text().encode()
    at %= len(good)
    path = tmp_path / sample.file
    path.write_bytes(good[:at] + b"\n".join(pieces) + good[at:])
    for reader in READERS.values():
        reader.detects(path)
    report = ReadReport(1)
    try:
        for event in read(path, sample.format, report):
            assert event.action
            assert 0 <= event.time_s < 1e12
    except HistoryError:
        pass


def test_a_directory_stands_for_the_histories_in_it(tmp_path: Path) -> None:
    for sample in SAMPLES:
        (tmp_path / sample.format).mkdir()
        (tmp_path / sample.format / sample.file).write_text(sample.text())
    (tmp_path / "README.md").write_text("# Not a history\n")
    assert {reader.name for reader, _ in sources(tmp_path)} == {sample.format for sample in SAMPLES}
    assert [(reader.name, path.name) for reader, path in sources([tmp_path], "sgd")] == [("sgd", "part.jsonl")]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing of interest\n")
    for path, message in (
        (tmp_path / "absent", "absent: no such file or directory"),
        (tmp_path / "notes.txt", r"notes\.txt: not a history of a known format"),
        (tmp_path, "no known history in this directory"),
    ):
        with pytest.raises(HistoryError, match=message):
            list(read(path))
    with pytest.raises(HistoryError, match="format 'xml' is not known; it must be one of jsonl"):
        list(read(tmp_path, "xml"))


def test_git_gives_a_commit_per_event_and_no_files_for_mass_changes(tmp_path: Path) -> None:
    events = list(read(write_repository(tmp_path)))
    assert told(events) == (
        ("commit", ("file:a.py", "file:b c.py"), "change 0"),
        ("commit", ("file:a.py",), "change 1"),
        ("commit", (), "change 2"),
    )
    assert [event.context["files"] for event in events] == [2, 1, 70]
    assert {(event.user, event.session) for event in events} == {("ann", "2026-01-01")}


def test_git_runs_nothing_that_the_repository_names(tmp_path: Path) -> None:
    path = write_repository(tmp_path)
    trap = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {trap}\n")
    program.chmod(0o755)
    with (path / ".git" / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = {program}\n\tpager = {program}\n[log]\n\tshowSignature = true\n")
        config.write(f"[gpg]\n\tprogram = {program}\n[diff]\n\texternal = {program}\n[pager]\n\tlog = true\n")
    _sign_head(path)
    assert len(list(read(path))) == 3
    assert not trap.exists()
    subprocess.run(["git", "-C", path, "log", "-1"], capture_output=True, check=False)
    assert trap.exists()  # as a plain call would: the trap works


def _sign_head(path: Path) -> None:
    """Give the latest commit a signature, which git then wants checked."""
    git = ["git", "-C", str(path)]
    commit = subprocess.run([*git, "cat-file", "commit", "HEAD"], capture_output=True, check=True).stdout
    signature = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n"
    signed = commit.replace(b"\n\n", b"\n" + signature, 1)
    made = subprocess.run(
        [*git, "hash-object", "-t", "commit", "-w", "--stdin"], input=signed, capture_output=True, check=True
    )
    subprocess.run([*git, "update-ref", "HEAD", made.stdout.decode().strip()], check=True)


def test_a_folder_that_git_cannot_read_is_one_sentence(tmp_path: Path) -> None:
    write_repository(tmp_path)
    shutil.rmtree(tmp_path / "repository" / ".git" / "objects")
    with pytest.raises(HistoryError, match="repository: git cannot read the repository"):
        list(read(tmp_path / "repository"))


def test_damaged_tables_are_one_sentence(tmp_path: Path) -> None:
    path = write_parquet_sample(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HistoryError, match="not a readable Parquet file"):
        list(read(path))


def test_rows_of_a_table_are_checked_one_by_one(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    tables = pytest.importorskip("pyarrow.parquet")
    good = {"user": "ann", "session": "1", "time_s": 1.0, "action": "run", "context": "{}"}
    rows = [good, {**good, "time_s": -1.0}, {**good, "context": "[]"}, {**good, "action": None}]
    path = tmp_path / "rows.parquet"
    tables.write_table(arrow.Table.from_pylist(rows), path)
    report = ReadReport(1)
    assert len(list(read(path, report=report))) == 1
    assert [(place.line, place.field) for place in report.examples] == [(2, "time_s"), (3, "context"), (4, "action")]
    tables.write_table(arrow.Table.from_pylist([{"user": "ann"}]), path)
    with pytest.raises(HistoryError, match="there is no column 'session'"):
        list(read(path))


def test_csv_columns_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text("who;when;did;app\nann;0;open;mail\nann;60;open;map\nann;9000;open;mail\nann;x;open;mail\n")
    columns = {"user": "who", "time_s": "when", "action": "did", "resource.app": "app"}
    report = ReadReport(1)
    events = list(read(path, CsvReader(columns), report))
    assert [(event.session, event.resources) for event in events] == [
        ("visits.csv:00000", ("app:mail",)),
        ("visits.csv:00000", ("app:map",)),
        ("visits.csv:00001", ("app:mail",)),
    ]
    assert report.examples[0].field == "when"
    with pytest.raises(HistoryError, match=r"visits\.csv:1: there is no column 'nobody' for user"):
        list(read(path, CsvReader({**columns, "user": "nobody"})))
    with pytest.raises(HistoryError, match="'colour' is no field of an event"):
        CsvReader({"colour": "who"})


def test_sgd_words_come_before_what_they_explain_and_answers_after(tmp_path: Path) -> None:
    sample = next(sample for sample in SAMPLES if sample.format == "sgd")
    path = tmp_path / sample.file
    path.write_text(sample.text())
    first, second = load_sessions(path)
    assert [(event.action, event.time_s - first.start_s) for event in first.events] == [
        ("user", 0),
        ("intent", 0),
        ("call", 1),
        ("system", 15),
        ("user", 30),
    ]
    assert second.start_s - first.start_s == 3_600


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + SAMPLES[0].text().encode())
    assert told(list(read(path, report=ReadReport(0)))) == SAMPLES[0].expected


def test_results_tell_how_long_a_call_took_and_whether_it_worked(tmp_path: Path) -> None:
    by_format = {}
    for sample in SAMPLES:
        path = tmp_path / sample.file
        path.write_text(sample.text())
        by_format[sample.format] = [(event.duration_s, event.ok) for event in read(path) if event.resources]
    assert by_format["agent-sessions"] == [(0.1, False), (0.5, True), (None, None)]
    assert by_format["agent-transcripts"] == by_format["claude-code"] == [(None, None), (1.0, False)]
    assert by_format["codex"] == [(1.0, False), (1.0, True), (None, None), (None, None)]
    assert by_format["zsh"] == [(None, None), (3.0, None), (None, None)]


def test_pauses_end_shell_sessions(tmp_path: Path) -> None:
    zsh = next(sample for sample in SAMPLES if sample.format == "zsh")
    path = tmp_path / zsh.file
    path.write_text(zsh.text())
    assert [len(session.events) for session in load_sessions(path)] == [2, 1]


def test_shell_histories_without_times_get_made_up_ones(tmp_path: Path) -> None:
    path = tmp_path / ".bash_history"
    path.write_bytes(b"ls -l\ncaf\xe9 --now\n\nsudo make test\n" + b"pwd\n" * 60)
    sessions = load_sessions(path)
    assert [len(session.events) for session in sessions] == [50, 13]
    assert [event.action for event in sessions[0].events[:4]] == [
        "ls",
        "caf\N{REPLACEMENT CHARACTER}",
        "make test",
        "pwd",
    ]


def test_zsh_bytes_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / ".zsh_history"
    path.write_bytes(
        ": 1767225600:0;ü_tool a\n".encode().replace(b"\xbc", b"\xbc") + b": 1767225601:0;\xe3\x81\x83\xa3 x\n"
    )
    assert [event.action for event in read(path)] == ["ü_tool", "\u3043"]


def test_fits_and_tests_are_split_as_each_reader_says(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    line = '{{"repo":"r","user":"{}","session":"{}","seq":0,"ts":{},"tool":"X"}}\n'
    few = [line.format("few", session, session) for session in range(4)]
    path.write_text("".join([line.format("many", session, 100 - session) for session in range(10)] + few))
    fit, test = split_sessions(load_sessions(path), detect(path).rule)
    assert [session.session for session in fit] == [str(number) for number in range(9, 1, -1)]
    assert [session.session for session in test] == ["1", "0"]
