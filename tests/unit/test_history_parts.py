"""The parts that readers are made of: command heads, tool calls, splits, summaries, discovery, atomic writing."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from preloader.errors import HistoryError, MissingExtraError
from preloader.events import Event
from preloader.history import Session, SplitRule, discover_mine, order_sessions, read, split_sessions, streams, write
from preloader.history.commands import command_head
from preloader.history.gaps import GapSessions
from preloader.history.summary import summarize
from preloader.history.toolcalls import MAX_OPEN_CALLS, CallLog, call_resources, relative_path


@pytest.mark.parametrize(
    ("command", "head"),
    [
        ("git status -s", "git status"),
        ("git -C sub -c a=b commit --amend", "git commit"),
        ("git --version 2>&1", "git"),
        ("cd web && npm --prefix x run build | tail", "npm run"),
        ("cd web", "cd"),
        ("A=1 B='x y' sudo /usr/bin/apt-get -y install x", "apt-get install"),
        ("OUT=$(git log | head -1) && echo $OUT", "echo"),
        ("# why\nls -l", "ls"),
        ("\\\nsed -n 1p x", "sed"),
        ("pnpm --filter '@a/b' test", "pnpm test"),
        ("'quoted program' x", None),
        ("echo 'unbalanced", "echo"),
        ("$(", None),
        ("   ", None),
        ("make", "make"),
        ("x" * 300, "x" * 80),
    ],
)
def test_command_heads(command: str, head: str | None) -> None:
    assert command_head(command) == head


@pytest.mark.parametrize(
    ("path", "root", "relative"),
    [
        ("/home/ann/app/src/a.py", "/home/ann/app", "src/a.py"),
        ("/home/ann/app", "/home/ann/app/", "."),
        ("/home/ann/application/a.py", "/home/ann/app", "/home/ann/application/a.py"),
        ("./src//a.py", "/home/ann/app", "src/a.py"),
        ("src\\a.py", "C:\\app", "src/a.py"),
        ("C:\\app\\src\\a.py", "C:\\app", "src/a.py"),
        ("a\\ b.py", None, "a\\ b.py"),
    ],
)
def test_paths_inside_the_project_are_relative(path: str, root: str | None, relative: str) -> None:
    assert relative_path(path, root) == relative


def test_a_patch_uses_every_file_that_it_touches() -> None:
    patch = "*** Begin Patch\n*** Add File: a.py\n+x\n*** Delete File: /app/b.py\n*** End Patch"
    wanted = ("file:a.py", "file:b.py")
    assert call_resources("apply_patch", patch, "/app")[2:] == wanted
    assert call_resources("shell", {"command": ["apply_patch", patch]}, "/app")[2:] == wanted


def test_arguments_of_any_shape_are_understood_or_ignored() -> None:
    for arguments in ({"path": 5}, {"command": [1, 2]}, {"command": {}}, {"file_path": ""}, {"path": None}, ""):
        assert call_resources("X", arguments) == ("tool:X", "tool_command:X")


def test_a_result_that_never_comes_holds_a_bounded_number_of_events_back() -> None:
    log = CallLog("u", "s")
    for number in range(MAX_OPEN_CALLS + 44):
        log.call(str(number), "X", (), number, {})
    out = list(log.settled())
    assert [event.time_s for event in out] == list(range(44))
    log.result("0", 500.0, True)  # too late: it is out
    log.result("44", 50.0, True)
    assert [(event.time_s, event.duration_s) for event in log.settled()] == [(44, 6.0)]
    assert len(list(log.rest())) == MAX_OPEN_CALLS - 1


def _session(user: str, name: str, start_s: float, **context: str) -> Session:
    return Session(user, name, (Event(user=user, session=name, time_s=start_s, action="x", context=context),))


def test_splits_by_time_round_down_and_leave_short_streams_out() -> None:
    sessions = [_session("ann", str(n), n) for n in range(9)] + [_session("bob", "0", 100)]
    random.Random(1).shuffle(sessions)
    fit, test = split_sessions(sessions, SplitRule())
    assert [session.session for session in fit] == list("0123456")
    assert [session.session for session in test] == list("78")
    fit, test = split_sessions(sessions, SplitRule(min_sessions=1))
    assert [session.user for session in test] == ["ann", "ann", "bob"]
    assert [stream.name for stream in streams(sessions, SplitRule())] == ["ann"]


def test_splits_by_task_keep_a_task_on_one_side() -> None:
    sessions = [_session("d", f"{task}-{run}", -task, task_id=str(task)) for task in (1, 2, 9, 10, 11) for run in "ab"]
    fit, test = split_sessions(sessions, SplitRule(order="task"))
    assert {session.task for session in fit} == {"1", "2", "9", "10"}
    assert {session.task for session in test} == {"11"}


def test_shuffled_splits_depend_on_the_seed_alone() -> None:
    rule = SplitRule(order="shuffled", per_user=False)
    sessions = [_session(str(n), str(n), n) for n in range(50)]
    fit, test = split_sessions(sessions, rule, seed=3)
    assert (len(fit), len(test)) == (40, 10)
    assert split_sessions(sessions[::-1], rule, seed=3) == (fit, test)
    assert split_sessions(sessions, rule, seed=4) != (fit, test)
    assert order_sessions(sessions, rule, seed=3) == [*fit, *test]


def test_gaps_begin_sessions_and_small_steps_back_do_not() -> None:
    gaps = GapSessions("x")
    assert [gaps.place(t) for t in (100.0, 90.0, 1_899.0, 3_800.0, 10.0)] == [
        ("x:00000", 100.0),
        ("x:00000", 100.0),
        ("x:00000", 1_899.0),
        ("x:00001", 3_800.0),
        ("x:00002", 10.0),
    ]


def test_a_summary_counts_repeats_within_sessions_only() -> None:
    def used(session: str, time_s: float, name: str) -> Event:
        return Event(user="u", session=session, time_s=time_s, action="x", resources=(f"k:{name}",), ok=name != "b")

    summary = summarize([used("1", 0, "a"), used("2", 1, "a"), used("1", 4, "a"), used("1", 5, "b")])
    kind = summary.kinds["k"]
    assert (kind.items, kind.vocabulary, kind.repeats_share, kind.top) == (4, 2, 0.5, {"k:a": 3, "k:b": 1})
    assert (summary.users, summary.sessions, summary.failed, summary.first_s, summary.last_s) == (1, 2, 1, 0, 5)
    assert summary.gaps_s is not None
    assert (summary.gaps_s.n, summary.gaps_s.p10, summary.gaps_s.p90) == (2, 1, 1)
    assert summarize([]).first_s is None


def test_what_interrupts_writing_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    event = Event(user="u", session="s", time_s=0, action="x")

    def interrupted() -> Iterator[Event]:
        yield event
        raise KeyboardInterrupt

    assert write([event], out, "jsonl") == 1
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write(interrupted(), out, "jsonl")
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="cannot be written"):
        write([], tmp_path / "absent" / "out.jsonl", "jsonl")
    with pytest.raises(HistoryError, match="format 'csv' cannot be written; it must be one of jsonl, parquet"):
        write([], tmp_path / "out.csv", "csv")


def test_parquet_without_its_extra_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"preloader\[parquet\]"):
        list(read(tmp_path / "x.parquet"))


def test_only_what_is_the_users_and_not_empty_is_discovered(tmp_path: Path) -> None:
    assert discover_mine(tmp_path, {}) == []
    line = '{"sessionId":"1","type":"user","timestamp":"2026-01-01T00:00:00Z","message":{"content":"hello"}}\n'
    for place, text in (
        (".claude/projects/-app/1.jsonl", line),
        (".claude/projects/-app/1/subagents/journal.jsonl", '{"type":"started"}\n'),
        (".claude/history.jsonl", line),
        ("codex/sessions/2026/01/01/rollout-1.jsonl", '{"timestamp":"2026-01-01T00:00:00Z","type":"x","payload":{}}\n'),
        (".bash_history", "ls\n"),
        (".zsh_history", ""),
        ("data/fish/fish_history", "- cmd: ls\n  when: 1\n"),
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    environment = {"CODEX_HOME": str(tmp_path / "codex"), "XDG_DATA_HOME": str(tmp_path / "data")}
    found = discover_mine(tmp_path, environment)
    assert [(reader.name, path.name) for reader, path in found] == [
        ("claude-code", "1.jsonl"),
        ("codex", "rollout-1.jsonl"),
        ("bash", ".bash_history"),
        ("fish", "fish_history"),
    ]
