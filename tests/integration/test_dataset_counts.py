"""The readers and splits over the real data sets: the counts that every published figure rests on."""

import os
from pathlib import Path

import pytest

from preloader.history import READERS, ReadReport, Session, load_sessions, split_sessions


def load(name: str) -> list[Session]:
    folder = os.environ.get("PRELOADER_DATASETS")
    if not folder:
        pytest.skip("PRELOADER_DATASETS is not set")
    report = ReadReport(0)
    sessions = load_sessions(Path(folder) / name, report=report)
    assert report.bad == 0
    return sessions


def items(sessions: list[Session], kind: str) -> int:
    return sum(len(event.keys(kind)) for session in sessions for event in session.events)


def test_agent_sessions() -> None:
    sessions = load("agent-sessions")
    fit, test = split_sessions(sessions, READERS["agent-sessions"].rule)
    assert sum(len(session.events) for session in sessions) == 33_246
    assert [items(part, "tool") for part in (fit, test)] == [23_973, 6_037]
    assert [items(part, "tool_command") for part in (fit, test)] == [23_973, 6_037]
    assert len({session.user for session in fit}) == 8


def test_agent_transcripts() -> None:
    sessions = load("agent-transcripts")
    fit, test = split_sessions(sessions, READERS["agent-transcripts"].rule)
    assert len(sessions) == 329
    assert items(sessions, "tool") == 23_477
    assert (len(fit), len(test)) == (262, 67)
    assert "EntityProcess/agentv" not in {session.user for session in fit}


def test_sgd() -> None:
    sessions = load("sgd/test.jsonl.gz")
    assert len(sessions) == 2_921
    # One intent per frame that has one: the count behind the published baselines.
    assert items(sessions, "intent") == 24_817
    assert items(sessions, "skill") == items(sessions, "domain_method") == 7_658
    assert len({session.start_s for session in sessions}) == 2_921


def test_tau2() -> None:
    sessions = load("tau2")
    fit, test = split_sessions(sessions, READERS["tau2"].rule)
    assert len(sessions) == 966
    assert items(sessions, "tool") == 8_380
    assert [items(part, "tool") for part in (fit, test)] == [6_375, 2_005]
    for domain in {session.user for session in sessions}:
        of_fit, of_test = ({s.task for s in part if s.user == domain} for part in (fit, test))
        assert not of_fit & of_test
        assert len(of_fit) == (len(of_fit) + len(of_test)) * 4 // 5
