"""The Schema-Guided Dialogue set (arXiv 1909.05855): a user, an assistant, and the services that it calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from preloader.events import Event, resource_key
from preloader.history.fields import Name
from preloader.history.lines import json_keys, records
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

START_S = 1_551_398_400.0
"""When the first dialogue of a file begins: 1 March 2019, the day that the dialogues speak of as today."""

DIALOGUE_S = 3_600.0
TURN_S = 15.0
CALL_S = 1.0
_NO_INTENT = "NONE"


class _State(msgspec.Struct, frozen=True):
    active_intent: str = _NO_INTENT


class _ServiceCall(msgspec.Struct, frozen=True):
    method: Name


class _Frame(msgspec.Struct, frozen=True):
    service: Name
    active_intent: str | None = None
    state: _State = _State()
    service_call: _ServiceCall | None = None

    @property
    def domain(self) -> str:
        """The service without its version."""
        return self.service.rpartition("_")[0] or self.service

    @property
    def intent(self) -> str | None:
        """The active intent, where there is one; the original files keep it in the frame's state."""
        intent = self.active_intent or self.state.active_intent
        return None if intent == _NO_INTENT else intent


class _Turn(msgspec.Struct, frozen=True):
    speaker: Name
    utterance: str
    frames: tuple[_Frame, ...] = ()


class _Dialogue(msgspec.Struct, frozen=True):
    dialogue_id: Name
    turns: tuple[_Turn, ...]


class SgdReader:
    """Reads dialogues; each is its own user and its own session, named after its file and its id.

    The set records no times: turns are 15 s apart, and dialogues an hour, in the order of the file. A user's turn is an
    event ``user`` with the words, followed, at the same time, by one event ``intent`` for each service that has an
    active intent. A service call is an event ``call`` 1 s after the user's turn that led to it. What the assistant then
    says is an event ``system`` at its own turn, after the call: so nothing that was said later is known at the call.
    """

    name = "sgd"
    kinds: tuple[str, ...] = ("skill", "domain_method", "api", "intent")
    rule = SplitRule(order="shuffled", per_user=False)
    _keys = frozenset({"dialogue_id", "turns"})
    _decoder = msgspec.json.Decoder(_Dialogue)

    def detects(self, path: Path) -> bool:
        """Return whether one of the first lines has the keys of a dialogue."""
        return any(keys >= self._keys for keys in json_keys(path))

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield the events of one dialogue after the other; see `Reader.read`."""
        part = path.name.partition(".")[0]
        for index, dialogue in enumerate(records(path, self._decoder.decode, report)):
            yield from _events(dialogue, f"{part}/{dialogue.dialogue_id}", START_S + index * DIALOGUE_S)


def _events(dialogue: _Dialogue, name: str, start_s: float) -> Iterator[Event]:
    for number, turn in enumerate(dialogue.turns):
        time_s = start_s + number * TURN_S
        by_user = turn.speaker == "USER"
        if not by_user:
            yield from _calls(turn, name, time_s - TURN_S + CALL_S)
        action = "user" if by_user else "system"
        yield Event(user=name, session=name, time_s=time_s, action=action, text=turn.utterance)
        if by_user:
            yield from _intents(turn, name, time_s)


def _intents(turn: _Turn, name: str, time_s: float) -> Iterator[Event]:
    for frame in turn.frames:
        if frame.intent:
            key = resource_key("intent", f"{frame.domain}.{frame.intent}")
            yield Event(user=name, session=name, time_s=time_s, action="intent", resources=(key,))


def _calls(turn: _Turn, name: str, time_s: float) -> Iterator[Event]:
    for frame in turn.frames:
        if frame.service_call:
            method = frame.service_call.method
            used = (
                resource_key("domain_method", f"{frame.domain}.{method}"),
                resource_key("skill", frame.domain),
                resource_key("api", f"{frame.service}.{method}"),
            )
            yield Event(user=name, session=name, time_s=time_s, action="call", resources=used)
