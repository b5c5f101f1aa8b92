"""What sessions use at which time of day, and that a manager starts warm by it."""

import asyncio
import json
import logging
import math
import time

import pytest

from preloader.cache.habits import EVERYBODY, Habits
from preloader.errors import BundleError
from preloader.events import Event
from preloader.manager import PreloadManager
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider
from tests.unit.manager_scene import costs

MONDAY_S = 1_749_427_200.0  # 9 June 2025, 0:00 UTC
HOUR_S, DAY_S = 3_600.0, 86_400.0


def event(day, hour, *names, user="anna", session=None):
    time_s = MONDAY_S + day * DAY_S + hour * HOUR_S
    keys = tuple(f"component:{name}" for name in names)
    return Event(user=user, session=session or f"{day}-{hour}", time_s=time_s, action="go", resources=keys)


def habits_of(*events):
    habits = Habits(time.gmtime)
    for happened in events:
        habits.learn(happened)
    return habits


def chances(habits, day, hour, user=None):
    answers = habits.expected(MONDAY_S + day * DAY_S + hour * HOUR_S, user)
    return {answer.key.removeprefix("component:"): answer.p_use_if_loaded for answer in answers}


WORKING_WEEKS = [
    event(day, hour, *names)
    for day in range(28)
    for hour, names in ((8, ["mail", "news"]), (20, ["music"]))
    if day % 7 < 5
]


def test_nothing_is_expected_before_anything_was_seen():
    assert Habits(time.gmtime).expected(MONDAY_S) == []


def test_each_time_of_day_has_its_own():
    habits = habits_of(*WORKING_WEEKS)
    morning, evening = chances(habits, 28, 8.5), chances(habits, 28, 20)
    assert morning["mail"] == morning["news"] > 0.8
    assert evening["music"] > 0.8
    assert morning["music"] < 0.05 > evening["mail"]


def test_a_session_counts_once_for_a_key_and_by_the_hour_in_which_it_began():
    many = [event(0, hour, "mail", session="long") for hour in (8, 12, 16, 20)]
    habits = habits_of(*many)
    assert chances(habits, 0, 20).get("mail", 0.0) < 0.01
    assert chances(habits, 0, 8)["mail"] == pytest.approx(
        1 / 3
    )  # one session, against a prior of two that used nothing


def test_the_clock_goes_round_and_other_days_say_less():
    habits = habits_of(*(event(day, 23.9, "music") for day in range(5)))
    midnight = chances(habits, 7, 0)["music"]
    assert midnight > chances(habits, 7, 3)["music"] > chances(habits, 7, 12).get("music", 0.0)
    assert 0.0 < chances(habits, 5, 23.9)["music"] < chances(habits, 7, 23.9)["music"]


def test_a_users_own_habits_go_before_everybodys_as_far_as_they_are_known():
    others = [event(day, 8, "mail", user=f"user{number}") for day in range(5) for number in range(10)]
    habits = habits_of(*others, *(event(day, 8, "news", user="anna") for day in range(20) if day % 7 < 5))
    own, everybodys = chances(habits, 21, 8, "anna"), chances(habits, 21, 8)
    assert own["news"] > 0.8 > everybodys["news"]
    assert own["mail"] < 0.2 < everybodys["mail"]
    assert chances(habits, 21, 8, "stranger") == {}


def test_what_was_given_up_fades():
    old = [event(day, 8, "mail") for day in range(5)]
    habits = habits_of(*old, *(event(140 + day, 8, "news") for day in range(5)))
    now = chances(habits, 147, 8)
    assert now["news"] > 0.6
    assert now["mail"] < 0.1


def test_what_was_learned_survives_as_json():
    habits, again = habits_of(*WORKING_WEEKS), Habits(time.gmtime)
    again.load(habits.dump())
    assert chances(again, 28, 8, "anna") == chances(habits, 28, 8, "anna")
    assert again.dump() == habits.dump()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"schema":2,"tables":{}}',
        b'{"schema":1,"tables":{"":{"first_s":0,"latest":0,"sessions":{"48":1.0},"keys":{}}}}',
        b'{"schema":1,"tables":{"":{"first_s":0,"latest":0,"sessions":{"0":-1.0},"keys":{}}}}',
        b'{"schema":1,"tables":{"":{"first_s":0,"latest":1e9,"sessions":{},"keys":{}}}}',
        json.dumps(
            {
                "schema": 1,
                "tables": {"": {"first_s": 0, "latest": 0, "sessions": {}, "keys": {str(n): {} for n in range(999)}}},
            }
        ).encode(),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(data):
    habits = habits_of(*WORKING_WEEKS)
    before = habits.dump()
    with pytest.raises(BundleError, match="the habits are"):
        habits.load(data)
    assert habits.dump() == before


def test_its_memory_is_bounded_and_everybodys_table_stays():
    habits = habits_of(
        *(event(0, 8, *(f"key{user}-{at}" for at in range(300)), user=f"user{user}") for user in range(150)),
        *(event(0, 8, f"key{at}", session=f"s{at}") for at in range(600)),
    )
    assert len(habits._tables) == 64
    assert EVERYBODY in habits._tables
    assert max(len(table.keys) for table in habits._tables.values()) == 128
    assert len(habits._sessions) <= 256


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf, 1e300, -1e300, 1e15])
def test_an_absurd_time_spoils_nothing(time_s):
    absurd = Event(user="anna", session="absurd", time_s=time_s, action="go", resources=("component:odd",))
    habits = habits_of(*WORKING_WEEKS[:20], absurd, *WORKING_WEEKS[20:])
    assert chances(habits, 28, 8)["mail"] > 0.3 or abs(time_s) > 1e10
    again = Habits(time.gmtime)
    again.load(habits.dump())


# ---- the manager


def manager_at(state_dir, hour, provider, ended=None, **settings):
    return PreloadManager(
        {"component": provider},
        predictor=FakePredictor({}),
        settings=Settings(waste_budget=settings.pop("waste_budget", None), **settings),
        executor=InlineExecutor(),
        state_dir=state_dir,
        listeners=[ended.append] if ended is not None else (),
        wall_clock=lambda: MONDAY_S + 28 * DAY_S + hour * HOUR_S,
    )


def lives(manager, events=(), then_s=3.0):
    async def main():
        async with manager:
            for happened in events:
                manager.observe(happened)
            await asyncio.sleep(then_s)
            return sorted(entry.key.removeprefix("component:") for entry in manager._store.entries())

    return run_virtual(main())


@pytest.fixture
def state_dir(tmp_path):
    """What a manager leaves that saw four weeks."""
    lives(manager_at(tmp_path, 12, FakeProvider(costs("mail", "news", "music"))), WORKING_WEEKS)
    return tmp_path


def test_a_manager_starts_with_what_earlier_sessions_used_at_this_time_of_day(state_dir):
    provider = FakeProvider(costs("mail", "news", "music"))
    assert lives(manager_at(state_dir, 8, provider)) == ["mail", "news"]
    assert lives(manager_at(state_dir, 20, provider)) == ["music"]
    assert lives(manager_at(state_dir, 3, provider)) == []
    provider.assert_all_unloaded()


def test_a_users_first_event_brings_what_that_user_uses_then(state_dir):
    provider = FakeProvider(costs("mail", "news", "music"))
    assert lives(manager_at(state_dir, 3, provider), [event(28, 20, user="anna")]) == ["music"]
    assert lives(manager_at(state_dir, 3, provider), [event(28, 20, user="stranger")]) == []


def test_it_can_be_switched_off_and_it_keeps_to_policy_and_waste_budget(state_dir):
    provider = FakeProvider(costs("mail", "news", "music"))
    assert lives(manager_at(state_dir, 8, provider, warm_start=False)) == []
    assert lives(manager_at(state_dir, 8, provider, policy="none")) == []
    assert lives(manager_at(state_dir, 8, provider, waste_budget=0.0)) == []


def test_what_was_warmed_and_not_used_is_written_off(state_dir):
    ended = []
    manager = manager_at(state_dir, 8, FakeProvider(costs("mail", "news", "music")), ended)
    lives(manager, then_s=3_600.0)
    assert [(preload.outcome, preload.reason) for preload in ended] == [("wasted", "expired unused")] * 2
    assert {preload.tier.name for preload in ended} == {"BACKGROUND"}


def test_a_damaged_state_is_put_aside_and_the_manager_starts_cold(state_dir, caplog):
    (state_dir / "habits.json").write_bytes(b'{"schema": 1, "tables": []}')
    with caplog.at_level(logging.WARNING, "preloader"):
        assert lives(manager_at(state_dir, 8, FakeProvider(costs("mail", "news", "music")))) == []
    assert "habits.json starts afresh: the habits are damaged" in caplog.text
    assert (state_dir / "habits.json.refused-1").exists()
    assert json.loads((state_dir / "habits.json").read_bytes())["schema"] == 1  # saved anew


def test_a_key_that_no_provider_has_any_more_harms_nothing(state_dir):
    assert lives(manager_at(state_dir, 8, FakeProvider(costs("mail")))) == ["mail"]
