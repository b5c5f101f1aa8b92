"""The simulated household: what happens is what it says is likely, and it is the same every time."""

from __future__ import annotations

import random
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from preloader.components.registry import ComponentRegistry
from preloader.errors import ConfigurationError, HistoryError
from preloader.events import Context, ContextTracker, Event
from preloader.history.household import ARCHETYPES, Household, HouseholdReader, components_toml, read_household
from preloader.history.household.__main__ import SAMPLE, write_data_set
from preloader.history.household.habits import START, Habits, archetype_of
from preloader.history.household.home import BASES, COMPONENTS, INTENTS, ROUTINES
from preloader.history.household.speech import SLOTS, TEMPLATES, VAGUE_SENTENCES, likelihoods, say
from preloader.history.reader import ReadReport

DATA_SET = Path(__file__).parents[2] / "datasets" / "household"


@pytest.fixture(scope="module")
def household() -> Household:
    return Household(seed=7, users=4, days=42)


@pytest.fixture(scope="module")
def events(household: Household) -> list[Event]:
    return list(household.events())


def commands(events: list[Event]) -> Iterator[tuple[Context, str, str]]:
    """Yield the context before each command's words, the words, and the component that it used."""
    tracker = ContextTracker()
    spoken: dict[tuple[str, str], tuple[Context, str]] = {}  # sessions of several people interleave
    for event in events:
        slot = (event.user, event.session)
        if event.text is not None:
            spoken[slot] = (tracker.context(*slot), event.text)
        elif event.resources:
            yield *spoken[slot], event.resources[0]
        tracker.observe(event)


def bytes_of(household: Household) -> bytes:
    return b"\n".join(map(msgspec.json.encode, household.events()))


def test_a_seed_reproduces_every_byte_and_another_does_not() -> None:
    first = bytes_of(Household(seed=3, users=3, days=9))
    assert bytes_of(Household(seed=3, users=3, days=9)) == first
    assert bytes_of(Household(seed=4, users=3, days=9)) != first


def test_more_days_or_users_only_add() -> None:
    few = list(Household(seed=3, users=2, days=5).events())
    more = list(Household(seed=3, users=4, days=9).events())
    last = few[-1].time_s
    assert [event for event in more if event.user in ("person1", "person2") and event.time_s <= last] == few


def test_a_command_is_its_words_and_then_what_they_were_understood_as(events: list[Event]) -> None:
    sessions: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        sessions[event.user, event.session].append(event)
    for entering, *rest in sessions.values():
        assert (entering.action, entering.text, entering.resources) == ("enters", None, ())
        assert 3 <= len(rest) / 2 <= 7
        for words, intent in zip(rest[::2], rest[1::2], strict=True):
            assert (words.action, words.resources, intent.text) == ("user", (), None)
            component = intent.resources[0].removeprefix("component:")
            assert intent.action == INTENTS[component][0]
            assert likelihoods(words.text or "")[component] > 0
            assert 1.9 < intent.time_s - words.time_s < 6.1
            assert entering.context == words.context == intent.context
        gaps = [after.time_s - before.time_s for before, after in zip(rest[1::2], rest[2::2], strict=False)]
        assert all(4.9 < gap < 60.1 for gap in gaps), "time enough to preload, and still one burst"


def test_events_come_in_order_and_a_persons_sessions_do_not_overlap(events: list[Event]) -> None:
    assert [event.time_s for event in events] == sorted(event.time_s for event in events)
    for user in {event.user for event in events}:
        names = [event.session for event in events if event.user == user]
        changes = sum(before != after for before, after in pairwise(names))
        assert changes == len(set(names)) - 1


def test_routines_keep_their_days_places_and_hours(household: Household, events: list[Event]) -> None:
    for event in events:
        planned = household.sessions[event.user, event.session]
        routine = ROUTINES[planned.routine]
        day, second = divmod(event.time_s - 1_767_571_200.0, 86_400)
        assert routine.weekend in (None, day % 7 >= 5)
        assert event.context["place"] == routine.place
        assert abs(second / 3_600 - routine.hour) < 0.6
    at_home = Counter(household.archetype(user) for user, _ in household.sessions)
    leaving = Counter(
        household.archetype(one.user) for one in household.sessions.values() if ROUTINES[one.routine].name == "leaving"
    )
    assert leaving["homebody"] / at_home["homebody"] < 0.5 * leaving["commuter"] / at_home["commuter"]


@pytest.mark.parametrize("heard", [False, True], ids=["before the words", "after the words"])
def test_what_happens_is_as_frequent_as_the_truth_says(household: Household, events: list[Event], heard: bool) -> None:
    """For each component, overall and in each group of contexts: (times used - expected) is within chance."""
    counted: dict[tuple[object, str], np.ndarray] = defaultdict(lambda: np.zeros(3))
    for context, words, used in commands(events):
        truth = household.truth(context, heard=words if heard else None)
        assert sum(truth.values()) == pytest.approx(1)
        planned = household.sessions[context.user, context.session]
        latest = next(context.items("component"), None)
        groups = ("all", context.user, ("routine", planned.routine), ("week", planned.week), ("latest", latest))
        for key, p in truth.items():
            for group in groups:
                counted[group, key] += (key == used, p, p * (1 - p))
    used, expected, variance = np.array([row for row in counted.values() if row[2] > 5]).T
    z = (used - expected) / np.sqrt(variance)
    assert len(z) > 50
    assert np.abs(z).max() < 4.5
    assert 0.85 < z.std() < 1.15, "neither too far off nor suspiciously close"


def test_truth_of_later_steps_is_as_frequent_too(household: Household, events: list[Event]) -> None:
    sessions: dict[tuple[str, str], list[tuple[Context, str, str]]] = defaultdict(list)
    for command in commands(events):
        sessions[command[0].user, command[0].session].append(command)
    counted: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    for session in sessions.values():
        for (context, words, _), (_, _, used) in zip(session, session[2:], strict=False):
            for key, p in household.truth(context, heard=words, step=3).items():
                counted[key] += (key == used, p, p * (1 - p))
    used, expected, variance = np.array(list(counted.values())).T
    assert np.abs((used - expected) / np.sqrt(variance)).max() < 4


def test_words_in_the_context_count_as_heard(household: Household, events: list[Event]) -> None:
    tracker = ContextTracker()
    for event in events[:200]:
        before = tracker.context(event.user, event.session)
        after = tracker.observe(event)
        if event.action == "user":
            assert household.truth(after) == household.truth(before, heard=event.text)
            assert household.truth(after) != household.truth(before)


def test_the_optimum_is_what_it_was_made_for_and_nothing_beats_it(household: Household, events: list[Event]) -> None:
    before, after = household.optimal_accuracy(), household.optimal_accuracy(heard=True)
    assert 0.6 < before < 0.72
    assert 0.93 < after < 0.97
    hits = Counter[bool]()
    for context, words, used in commands(events):
        for heard in (None, words):
            truth = household.truth(context, heard=heard)
            hits[heard is not None] += max(truth, key=truth.__getitem__) == used
    count = sum(1 for _ in commands(events))
    assert hits[False] / count == pytest.approx(before, abs=0.02)
    assert hits[True] / count == pytest.approx(after, abs=0.01)


def distance(habits: Habits, one: int, other: int, weeks: tuple[int, int] = (0, 0)) -> float:
    """Return the mean total variation between two people's chains, over what their routines make usual."""
    apart = [
        np.abs(habits.chain(one, routine, weeks[0]) - habits.chain(other, routine, weeks[1])).sum(axis=1).mean() / 2
        for routine in range(len(ROUTINES))
    ]
    return float(np.mean(apart))


def test_people_of_one_archetype_are_nearer_to_each_other_than_to_others() -> None:
    habits = Habits(seed=7, drift=0.15)
    pairs = [(one, other) for one in range(9) for other in range(one)]
    same = [distance(habits, *pair) for pair in pairs if archetype_of(pair[0]) == archetype_of(pair[1])]
    different = [distance(habits, *pair) for pair in pairs if archetype_of(pair[0]) != archetype_of(pair[1])]
    assert len(same) == 3 * len(ARCHETYPES)
    assert max(same) < min(different)
    assert min(same) > 0.1, "and yet they are not the same"


def test_habits_drift_and_without_drift_they_do_not() -> None:
    habits = Habits(seed=7, drift=0.15)
    moved = [distance(habits, 0, 0, (0, week)) for week in (0, 1, 3, 6, 10)]
    assert moved[0] == 0
    assert moved == sorted(moved)
    assert moved[1] > 0.02
    assert moved[-1] > 0.15
    assert distance(Habits(seed=7, drift=0), 0, 0, (0, 10)) == 0


def test_chains_are_distributions() -> None:
    habits = Habits(seed=1, drift=0.15)
    for routine in range(len(ROUTINES)):
        chain = habits.chain(2, routine, 5)
        assert chain.shape == (START + 1, START)
        assert (chain > 0).all()
        assert chain.sum(axis=1) == pytest.approx(1)


def test_what_is_said_is_as_frequent_as_the_likelihood_says() -> None:
    draw = random.Random(5)
    for component in ("lights", "recipes"):
        said = Counter(say(component, draw) for _ in range(20_000))
        expected = {text: 20_000 * likelihoods(text)[component] for text in said}
        chi2 = sum((said[text] - expected[text]) ** 2 / expected[text] for text in said if expected[text] > 5)
        cells = sum(expected[text] > 5 for text in said)
        assert cells > 20
        assert abs(chi2 - cells) < 4 * (2 * cells) ** 0.5
        assert sum(likelihoods(text).get(component, 0) for text in said) == pytest.approx(1, abs=0.01)
    assert likelihoods("open the pod bay doors") == {}


def test_the_grammar_knows_every_component_and_slot() -> None:
    assert set(TEMPLATES) == set(COMPONENTS)
    assert {name for names in VAGUE_SENTENCES.values() for name in names} == set(COMPONENTS)
    sentences = " ".join(one for ones in TEMPLATES.values() for one in ones)
    assert all(f"{{{slot}}}" in sentences for slot in SLOTS)
    assert {name for routine in ROUTINES for name in routine.pool} == set(COMPONENTS)


def test_components_are_a_registry_without_cycles_and_with_mutual_conflicts(tmp_path: Path) -> None:
    household = Household(seed=11)
    seen: set[str] = set()
    by_name = {component.name: component for component in household.components}
    for component in household.components:
        assert set(component.requires) <= seen, "what is required comes first, so there is no cycle"
        seen.add(component.name)
        assert all(component.name in by_name[other].conflicts for other in component.conflicts)
        assert 50e6 <= component.bytes <= 500e6
        assert 0.149 + component.bytes / 333e6 <= component.load_s <= 0.151 + component.bytes / 120e6
    assert seen == {*BASES, *COMPONENTS}
    (tmp_path / "components.toml").write_text(components_toml(household))
    ComponentRegistry.from_toml(tmp_path / "components.toml")
    tables = tomllib.loads(components_toml(household))["components"]
    assert {name: table["bytes"] for name, table in tables.items()} == {
        name: component.bytes for name, component in by_name.items()
    }


def test_the_sample_in_the_repository_is_what_its_command_writes(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    for name in ("sample.jsonl", "components.toml"):
        assert (tmp_path / name).read_bytes() == (DATA_SET / name).read_bytes()
    assert (DATA_SET / "sample.jsonl").stat().st_size <= 200_000
    assert SAMPLE in (DATA_SET / "README.md").read_text(encoding="utf-8")


def test_specs() -> None:
    household = read_household("household:seed=7,users=2,days=3,drift=0.5")
    assert (household.seed, household.users, household.days, household.drift) == (7, 2, 3, 0.5)
    assert bytes_of(read_household("household:users=2,days=1")) == bytes_of(Household(users=2, days=1))
    for spec, message in (
        ("house:seed=1", r"'house:seed=1' is no household; write household:seed=7"),
        ("household:seed=x", "seed must be a whole number, not 'x'"),
        ("household:drift=x", "drift must be a number, not 'x'"),
        ("household:sed=1", "'sed=1' must be one of seed, users, days, drift"),
        ("household:seed=1,seed=2", "'seed=2' must be one of .* at most once"),
    ):
        with pytest.raises(HistoryError, match=message):
            read_household(spec)
    for spec in (
        "household:users=0",
        "household:days=-1",
        "household:drift=-0.1",
        "household:drift=nan",
        "household:drift=inf",
    ):
        with pytest.raises(ConfigurationError, match="a household needs at least"):
            read_household(spec)


def test_the_reader_reads_a_spec(tmp_path: Path) -> None:
    reader, report = HouseholdReader(), ReadReport()
    spec = Path("household:seed=2,users=1,days=2")
    assert reader.detects(spec)
    assert reader.detects(Path("household"))
    assert not reader.detects(tmp_path)
    assert not reader.detects(Path("households.jsonl"))
    assert list(reader.read(spec, report)) == list(Household(2, 1, 2).events())
    assert (report.good > 0, report.bad) == (True, 0)


def test_truth_names_what_it_does_not_know(household: Household) -> None:
    with pytest.raises(HistoryError, match="has no session 'x' of user 'person1'"):
        household.truth(Context("person1", "x"))
    with pytest.raises(HistoryError, match="never says 'open the pod bay doors'"):
        household.truth(Context("person1", "day1-1"), heard="open the pod bay doors")
    with pytest.raises(ValueError, match="step is 0"):
        household.truth(Context("person1", "day1-1"), step=0)
