"""Replays of small histories through the real manager: what must hold whatever the figures are."""

import msgspec
import pytest

from preloader.decision import make_policy
from preloader.errors import ConfigurationError
from preloader.events import Event, NeedOutcome, PreloadOutcome
from preloader.history import group_sessions
from preloader.ports import Cost
from preloader.prediction import OnlinePredictor
from preloader.replay.comparators import PRELOADER, RUNS, Contender, compare, measure_all
from preloader.replay.rehearsal import Rehearsal
from preloader.replay.run import World
from preloader.replay.script import write_script
from preloader.replay.sizes import SimulatedProvider
from preloader.replay.study import Laboratory, Plan
from tests.integration.replay_plans import KIND, conduct, plan, predictor_of


@pytest.fixture(scope="module")
def study():
    return conduct(plan(), evidence=True, frontier=True)


def test_there_are_four_rows_over_the_same_needs(study):
    assert tuple(study.rows) == RUNS
    assert len({row.needs for row in study.rows.values()}) == 1
    for row in study.rows.values():
        assert row.hits + row.late_hits + row.misses == row.needs > 0


def test_only_the_runs_that_preload_have_preloads(study):
    assert study.rows["lru"].preloads == study.rows["predictive_eviction"].preloads == 0
    assert study.rows["preloader"].preloads > 0
    assert study.rows["clairvoyant"].wasted == 0


def test_nobody_beats_the_clairvoyant_and_lru_gains_nothing_over_itself(study):
    waited = {run: row.waited_s for run, row in study.rows.items()}
    assert waited["clairvoyant"] == min(waited.values())
    assert study.rows["clairvoyant"].time_saved_of_clairvoyant == 1.0
    assert (study.rows["lru"].time_saved, study.rows["lru"].coverage) == (0.0, 0.0)


def test_every_preload_ended_once_and_the_books_agree(study):
    recording = study.evidence.recordings[PRELOADER]
    row = study.rows[PRELOADER]
    ended = [preload.outcome for preload in recording.preloads]
    assert [ended.count(outcome) for outcome in PreloadOutcome] == [row.used, row.wasted, row.failed, row.dropped]


def test_memory_never_exceeds_the_budget_and_a_cold_cache_empties(study):
    held = [bytes_ for _, bytes_ in study.evidence.memory.points]
    assert max(held) <= study.capacity_bytes
    assert held[-1] == 0
    assert held.count(0) >= study.sessions


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_the_same_plan_gives_the_same_bytes_twice(cache):
    first, second = (conduct(plan(cache=cache), evidence=True) for _ in range(2))
    assert msgspec.json.encode(first.rows) == msgspec.json.encode(second.rows)
    for run in RUNS:
        ours, theirs = (study.evidence.recordings[run] for study in (first, second))
        assert (ours.needs, ours.preloads) == (theirs.needs, theirs.preloads)


def test_another_seed_is_another_world():
    assert conduct(plan(seeds=(0,))).rows["lru"].waited_s != conduct(plan(seeds=(1,))).rows["lru"].waited_s


def test_several_seeds_are_averaged_and_have_a_spread():
    several, first, second = (conduct(plan(seeds=seeds)) for seeds in ((0, 1), (0,), (1,)))
    waited = [one.rows["lru"].waited_s for one in (first, second)]
    assert several.rows["lru"].waited_s == pytest.approx(sum(waited) / 2)
    assert several.spreads["lru"].waited_s == pytest.approx(abs(waited[0] - waited[1]) / 2**0.5)
    assert not first.spreads


def test_a_warm_cache_serves_at_least_what_a_cold_one_does():
    cold, warm = (conduct(plan(cache=cache)).rows["lru"] for cache in ("cold", "warm"))
    assert warm.hits > cold.hits


def test_a_warm_cache_is_a_streams_own():
    events = [
        Event(user=user, session="s", time_s=at, action="do", resources=(f"{KIND}:a",))
        for at, user in enumerate(("u1", "u2"))
    ]
    separate = write_script(group_sessions(events), KIND, per_user=True)
    shared = write_script(group_sessions(events), KIND, per_user=False)
    hits = [play_lru(script, cache="warm").count(NeedOutcome.HIT) for script in (separate, shared)]
    assert hits == [0, 1]


def test_waiting_does_not_eat_the_pauses_of_a_history():
    """The closed loop: two events 1 s apart stay so, although the need between them takes 10 s."""
    events = [Event(user="u", session="s", time_s=at, action="do", resources=(f"{KIND}:{at}",)) for at in range(3)]
    recordings = compare(write_script(group_sessions(events), KIND), world(seconds=10.0), contender())
    assert recordings["lru"].asked_s == [0.0, 11.0, 22.0]
    assert [need.waited_s for need in recordings["lru"].needs] == [10.0, 10.0, 10.0]


def test_the_clairvoyant_loads_ahead_in_order_as_far_as_pauses_and_budget_allow():
    events = [
        Event(user="u", session="s", time_s=100.0 * at, action="do", resources=(f"{KIND}:{name}",))
        for at, name in enumerate("abcdab")
    ]
    recordings = compare(write_script(group_sessions(events), KIND), world(seconds=10.0, capacity=300), contender())
    outcomes = [need.outcome for need in recordings["clairvoyant"].needs]
    assert outcomes == [NeedOutcome.MISS] + 5 * [NeedOutcome.HIT]
    assert measure_all(recordings)["clairvoyant"].waste == 0.0


def world(seconds=1.0, capacity=1_000, cache="cold"):
    return World(SimulatedProvider(lambda key: Cost(seconds, 100)), KIND, capacity, cache)


def contender():
    return Contender(lambda: OnlinePredictor(kinds=(KIND,), horizon=3), lambda: make_policy("thresholds"))


def play_lru(script, cache):
    return [need.outcome for need in compare(script, world(cache=cache), contender())["lru"].needs]


def test_repeats_are_needs_only_if_kept():
    kept, dropped = (conduct(plan(repeats=repeats)).rows["lru"] for repeats in ("kept", "dropped"))
    assert kept.needs > dropped.needs
    assert kept.timely_hit_rate > dropped.timely_hit_rate


def test_a_kind_that_is_not_used_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="'skill'"):
        Laboratory(plan(kind="skill"), predictor_of(plan()))


def test_watching_does_not_change_what_happens(tmp_path, study):
    assert conduct(plan()).rows == study.rows
    assert conduct(plan(), outcomes=tmp_path / "outcomes.jsonl").rows == study.rows


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_repeating_what_a_predictor_said_changes_nothing(cache):
    chosen = plan(cache=cache)
    script = write_script(chosen.test, KIND)
    events = sum(len(session.steps) for session in script)
    rehearsal = Rehearsal(predictor_of(chosen), events)
    played = []
    for make in (predictor_of(chosen), rehearsal.predictor, rehearsal.predictor):
        recordings = compare(
            script, world(capacity=300, cache=cache), Contender(make, lambda: make_policy("thresholds"))
        )
        played.append([(recordings[run].needs, recordings[run].preloads) for run in RUNS])
    assert played[0] == played[1] == played[2]
    assert type(rehearsal.predictor()) is not type(Rehearsal(predictor_of(chosen), events).predictor())


def test_a_rehearsal_that_would_grow_too_large_is_given_up(tmp_path):
    chosen = plan()
    script = write_script(chosen.test, KIND)
    rehearsal = Rehearsal(predictor_of(chosen), sum(len(session.steps) for session in script), most_bytes=5_000)
    first, second = (
        compare(script, world(), Contender(rehearsal.predictor, lambda: make_policy("thresholds"))) for _ in range(2)
    )
    assert measure_all(first) == measure_all(second)


def test_outcomes_are_written_for_what_was_not_resident(tmp_path):
    path = tmp_path / "outcomes.jsonl"
    conduct(plan(), outcomes=path)
    rows = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert {True, False} == {row["used"] for row in rows}
    assert all(row["needs_until_use"] for row in rows if row["used"])
    assert all(row["free_bytes"] <= row["capacity_bytes"] for row in rows)


def test_what_only_annotators_know_is_neither_learned_nor_observed():
    def turn(session, at):
        return [
            Event(user=session, session=session, time_s=at, action="user", text="a table please"),
            Event(user=session, session=session, time_s=at, action="intent", resources=("intent:Food.Reserve",)),
            Event(user=session, session=session, time_s=at + 1, action="call", resources=("skill:Food",)),
        ]

    sessions = group_sessions([event for at in range(4) for event in turn(f"s{at}", 100.0 * at)])
    made = Plan(kind="skill", fit=sessions[:2], test=sessions[2:])
    assert [event.action for session in (*made.fit, *made.test) for event in session.events] == ["user", "call"] * 4
