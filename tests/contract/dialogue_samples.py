"""Small dialogues with assistants that call services and tools."""

from __future__ import annotations

from tests.contract.reader_sample import NOT_JSON, Bad, Sample, line


def _turn(speaker: str, words: str, *frames: dict[str, object]) -> dict[str, object]:
    return {"speaker": speaker, "utterance": words, "frames": list(frames)}


SGD = Sample(
    format="sgd",
    file="part.jsonl",
    records=(
        line(
            dialogue_id="1_0",
            services=["Music_2"],
            turns=[
                _turn("USER", "play jazz", {"service": "Music_2", "active_intent": "PlaySong"}),
                _turn("SYSTEM", "playing", {"service": "Music_2", "service_call": {"method": "PlaySong"}}),
                _turn("USER", "bye", {"service": "Music_2", "active_intent": "NONE"}),
            ],
        ),
        line(
            dialogue_id="1_1",
            turns=[_turn("USER", "taxi!", {"service": "Taxi_1", "state": {"active_intent": "GetRide"}})],
        ),
    ),
    expected=(
        ("user", (), "play jazz"),
        ("intent", ("intent:Music.PlaySong",), None),
        ("call", ("domain_method:Music.PlaySong", "skill:Music", "api:Music_2.PlaySong"), None),
        ("system", (), "playing"),
        ("user", (), "bye"),
        ("user", (), "taxi!"),
        ("intent", ("intent:Taxi.GetRide",), None),
    ),
    users=frozenset({"part/1_0", "part/1_1"}),
    bad=(
        *NOT_JSON,
        Bad(line(dialogue_id="1", turns=[{"speaker": "USER"}]), "turns[0].utterance", "missing required field"),
        Bad(line(dialogue_id="1", turns={}), "turns", "expected `array`"),
        Bad(line(dialogue_id=1, turns=[]), "dialogue_id", "expected `str`"),
    ),
)

TAU2 = Sample(
    format="tau2",
    file="episodes.jsonl",
    records=(
        line(
            id="e1",
            domain="retail",
            task_id="7",
            messages=[
                {"role": "assistant", "content": "Hi!", "timestamp": "2026-01-01T00:00:00.5"},
                {"role": "user", "content": "cancel it", "timestamp": "2026-01-01T00:00:01"},
                {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [{"name": "find"}, {"name": "cancel"}],
                    "timestamp": "2026-01-01T00:00:02",
                },
                {"role": "user", "tool_calls": [{"name": "reboot"}], "timestamp": "2026-01-01T00:00:03"},
            ],
        ),
        line(
            id="e2", domain="airline", task_id="10", messages=[{"role": "assistant", "tool_calls": [{"name": "book"}]}]
        ),
    ),
    expected=(
        ("assistant", (), "Hi!"),
        ("user", (), "cancel it"),
        ("find", ("tool:find",), None),
        ("cancel", ("tool:cancel",), None),
        ("book", ("tool:book",), None),
    ),
    users=frozenset({"retail", "airline"}),
    bad=(
        *NOT_JSON,
        Bad(
            line(
                id="e", domain="d", task_id="7", messages=[{"role": "user", "timestamp": "0001-01-01T00:00:00+14:00"}]
            ),
            "messages[0].timestamp",
            "not between 1970",
        ),
        Bad(line(id="e", domain="d", task_id=7, messages=[]), "task_id", "expected `str`"),
        Bad(line(id="e", domain="d", task_id="7", messages=[{"role": 1}]), "messages[0].role", "expected `str`"),
        Bad(
            line(id="e", domain="d", task_id="7", messages=[{"role": "user", "tool_calls": [{}]}]),
            "messages[0].tool_calls[0].name",
            "missing required field",
        ),
    ),
)
