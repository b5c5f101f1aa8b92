"""The event log against a plain list: any order of operations leaves both with the same events."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from preloader.events import Event
from preloader.history.log import EventLog
from preloader.history.redact import drop_words, keep_words

MAX_EVENTS, MAX_AGE_S = 6, 50.0
USERS = st.sampled_from(["ada", "ben", "naïve user"])
TIMES = st.integers(0, 100).map(float)
EVENTS = st.builds(
    Event,
    user=USERS,
    session=st.just("s"),
    time_s=TIMES,
    action=st.just("say"),
    text=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    context=st.dictionaries(st.sampled_from(["place", "volume"]), st.integers() | st.text("ab"), max_size=2),
)


class LogAgainstList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "events.db"
        self.stored: list[Event] = []
        self.buffered: list[Event] = []
        self.open()

    def open(self) -> None:
        self.log = EventLog(self.path, redact=keep_words, max_events=MAX_EVENTS, max_age_s=MAX_AGE_S)

    def all_stored(self) -> list[Event]:
        self.stored += self.buffered
        self.buffered = []
        return self.stored

    @rule(events=st.lists(EVENTS, max_size=4))
    def append(self, events: list[Event]) -> None:
        self.log.append(events)
        self.all_stored().extend(events)

    @rule(event=EVENTS)
    def buffer(self, event: Event) -> None:
        self.log.buffer(event)
        self.buffered.append(event)

    @rule()
    def flush(self) -> None:
        self.log.flush()
        self.all_stored()

    @rule(user=USERS)
    def purge(self, user: str) -> None:
        kept = [event for event in self.all_stored() if event.user != user]
        assert self.log.purge(user) == len(self.stored) - len(kept)
        self.stored = kept

    @rule(now_s=TIMES)
    def prune(self, now_s: float) -> None:
        kept = [event for event in self.all_stored() if event.time_s >= now_s - MAX_AGE_S][-MAX_EVENTS:]
        assert self.log.prune(now_s) == len(self.stored) - len(kept)
        self.stored = kept

    @rule(before_s=TIMES)
    def redact(self, before_s: float) -> None:
        redacted = [drop_words(event) if event.time_s < before_s else event for event in self.all_stored()]
        changed = sum(before != after for before, after in zip(self.stored, redacted, strict=True))
        assert self.log.redact_texts(before_s) == changed
        self.stored = redacted

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.all_stored()
        self.open()

    @rule(user=st.none() | USERS)
    def export(self, user: str | None) -> None:
        out = self.path.with_name("out.jsonl")
        self.log.export(out, user)
        exported = [msgspec.json.decode(line, type=Event) for line in out.read_bytes().split(b"\n") if line]
        assert exported == [event for event in self.stored if user in (None, event.user)]

    @invariant()
    def they_agree(self) -> None:
        assert list(self.log.events()) == self.stored
        assert len(self.log) == len(self.stored)
        assert self.log.buffered == len(self.buffered)

    @rule(user=USERS, since_s=TIMES)
    def they_agree_on_a_selection(self, user: str, since_s: float) -> None:
        chosen = [event for event in self.stored if event.user == user and event.time_s >= since_s]
        assert list(self.log.events(user, since_s)) == chosen

    def teardown(self) -> None:
        self.log.close()
        self.folder.cleanup()


TestLogAgainstList = LogAgainstList.TestCase
TestLogAgainstList.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
