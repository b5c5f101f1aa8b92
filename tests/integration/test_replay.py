"""Replays of small histories through the real manager: what must hold whatever the figures are."""

import os
import re
import sys
from html.parser import HTMLParser

import msgspec
import pytest

from preloader.cli import main
from preloader.decision import make_policy
from preloader.errors import ConfigurationError
from preloader.events import Event, NeedOutcome, PreloadOutcome
from preloader.history import SplitRule, group_sessions, load_sessions, split_sessions, write
from preloader.ports import Cost
from preloader.prediction import OnlinePredictor, save_bundle
from preloader.prediction.manifest import FittedOn, session_hash
from preloader.replay.comparators import PRELOADER, RUNS, Contender, compare, measure_all
from preloader.replay.rehearsal import Rehearsal
from preloader.replay.report import render
from preloader.replay.run import World
from preloader.replay.script import write_script
from preloader.replay.sizes import SimulatedProvider
from preloader.replay.study import Laboratory, Plan, report_data
from preloader.testing import random_events

KIND = "component"


def plan(seed=7, **changes):
    events = random_events(seed=seed, users=2, sessions=10, length=16, items=8)
    fit, test = split_sessions(group_sessions(events), SplitRule())
    defaults = {"kind": KIND, "fit": fit, "test": test, "budget": 4.0, "waste": 0.3}
    return Plan(**(defaults | changes))


def predictor_of(plan):
    def make():
        predictor = OnlinePredictor(kinds=(plan.kind,), horizon=3)
        for session in plan.fit:
            for event in session.events:
                predictor.learn_one(event)
        return predictor

    return make


def conduct(plan, **options):
    return Laboratory(plan, predictor_of(plan)).conduct(**options)


@pytest.fixture(scope="module")
def study():
    return conduct(plan(), evidence=True, frontier=True)


@pytest.fixture
def run_cli(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["preloader", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = 0 if ended.value.code is None else ended.value.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.jsonl"
    write(random_events(seed=7, users=2, sessions=10, length=25), path, "jsonl")
    return path


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


def test_json_has_the_shape_that_other_programs_read(run_cli, history):
    code, out, _ = run_cli("replay", history, "--component", KIND, "--size-seeds", 2, "--json")
    printed = msgspec.json.decode(out)
    assert code == 0
    assert [row["run"] for row in printed["rows"]] == list(RUNS)
    for name in (
        "timely_hit_rate",
        "coverage",
        "waste",
        "waste_bytes",
        "pollution",
        "time_saved",
        "preloads",
        "spread",
    ):
        assert all(name in row for row in printed["rows"])
    assert printed["events_per_second"] > 0
    assert printed["protocol"]["size_seeds"] == [0, 1]
    assert printed["data"]["events"] > 0


def test_the_table_names_all_four_runs(run_cli, history):
    code, out, _ = run_cli("replay", history, "--component", KIND, "--limit-sessions", 2)
    assert code == 0
    assert all(run.replace("_", " ") in out for run in RUNS)


def test_a_history_of_its_own_to_learn_from(run_cli, history, tmp_path):
    test = tmp_path / "later.jsonl"
    write(random_events(seed=7, users=2, sessions=2, length=25), test, "jsonl")
    code, out, _ = run_cli("replay", test, "--train", history, "--component", KIND, "--json")
    assert code == 0
    assert msgspec.json.decode(out)["data"]["sessions"] == 4


def save_fitted(path, sessions):
    predictor = OnlinePredictor(kinds=(KIND,), horizon=3)
    for session in sessions:
        for event in session.events:
            predictor.learn_one(event.known_at(event.time_s))
    hashes = sorted(session_hash(session.user, session.session) for session in sessions)
    fitted_on = FittedOn(format="jsonl", description="", licence="", sessions=hashes, events=1, last_s=0.0)
    save_bundle(path, predictor.snapshot(), fitted_on=fitted_on)


def test_a_bundle_stands_for_learning_the_same_history(run_cli, history, tmp_path):
    fit, _ = split_sessions(load_sessions([history]), SplitRule())
    save_fitted(tmp_path / "bundle", fit)
    outputs = [
        msgspec.json.decode(run_cli("replay", history, "--component", KIND, *options, "--json")[1])["rows"]
        for options in ([], ["--bundle", tmp_path / "bundle"])
    ]
    assert outputs[0] == outputs[1]


def test_a_bundle_that_has_seen_the_test_is_refused(run_cli, history, tmp_path):
    save_fitted(tmp_path / "bundle", load_sessions([history]))
    code, out, err = run_cli("replay", history, "--component", KIND, "--bundle", tmp_path / "bundle")
    assert (code, out) == (2, "")
    assert "was fitted on 4 of the 4 sessions to be replayed" in err


def test_a_simulated_household_declares_its_components(run_cli):
    code, out, _ = run_cli("replay", "household:seed=3,users=2,days=7", "--json")
    printed = msgspec.json.decode(out)
    assert code == 0
    assert printed["protocol"]["component"] == "component"
    assert printed["protocol"]["sizes"] == "declared"
    drawn = run_cli("replay", "household:seed=3,users=2,days=7", "--size-seed", 1, "--json")[1]
    assert msgspec.json.decode(drawn)["protocol"]["size_seeds"] == [1]


def test_a_registry_gives_sizes_and_dependencies_and_must_know_every_component(run_cli, tmp_path):
    registry = tmp_path / "components.toml"
    parts = "".join(
        f"[components.item{number}]\nloader = 'simulated'\nbytes = 1000\nload_s = 2.0\nrequires = ['base']\n"
        for number in range(12)
    )
    registry.write_text(parts + "[components.base]\nloader = 'simulated'\nbytes = 5000\nload_s = 8.0\n")
    path = tmp_path / "history.jsonl"
    write(random_events(seed=7, users=2, sessions=10, length=25), path, "jsonl")
    code, out, _ = run_cli("replay", path, "--registry", registry, "--budget", 2, "--json")
    printed = msgspec.json.decode(out)
    assert code == 0
    assert printed["protocol"]["capacity_bytes"] == 2 * 6_000
    assert printed["rows"][0]["wait_p50_s"] <= 10.0
    registry.write_text("[components.other]\nloader = 'simulated'\nbytes = 1\nload_s = 1.0\n")
    code, _, err = run_cli("replay", path, "--registry", registry)
    assert code == 2
    assert "item" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--component", KIND, "--registry", "components.toml", "--size-seed", "1"], "--registry"),
        (["--component", "skill"], "'skill'"),
        (["--component", KIND, "--policy", "magic"], "'magic'"),
        (["--component", KIND, "--eviction", "magic"], "'magic'"),
        (["--component", KIND, "--waste", "1.5"], "1.5"),
        (["--component", KIND, "--budget", "0"], "--budget 0"),
        (["--component", KIND, "--budget", "nan"], "--budget nan"),
        (["--component", KIND, "--limit-sessions", "0"], "--limit-sessions 0"),
        (["--component", KIND, "--size-seeds", "0"], "--size-seeds 0"),
        (["--component", KIND, "--size-seed", str(2**70)], "--size-seed"),
        (["--component", KIND, "--format", "nonsense"], "'nonsense'"),
        (["--component", KIND, "--train", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--component", KIND, "--bundle", "nowhere"], "nowhere"),
        (["--component", KIND, "--report", "/dev/null/report.html"], "/dev/null"),
        (["--component", KIND, "--emit-outcomes", "/dev/null/rows.jsonl"], "/dev/null"),
    ],
)
def test_bad_arguments_end_with_2_and_one_sentence(run_cli, history, arguments, named):
    code, out, err = run_cli("replay", history, *arguments)
    assert (code, out) == (2, "")
    assert named in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


class Page(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.handlers = set(), [], []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


def page_of(study, title="A history"):
    html = render(report_data(title, {"data": "history.jsonl"}, study))
    page = Page()
    page.feed(html)
    return html, page


@pytest.fixture(scope="module")
def rendered(study):
    return page_of(study)


def test_a_report_fetches_nothing_and_runs_nothing(rendered):
    html, page = rendered
    assert not page.tags & {"script", "img", "iframe", "object", "link", "foreignobject"}
    assert not page.handlers
    assert all(link.startswith("#") for link in page.links)
    assert "default-src 'none'" in html
    assert set(re.findall(r"https?://[^\s\"'<)]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert html.count("<svg") == 5


def test_the_same_study_gives_the_same_page(study, rendered):
    assert page_of(study)[0] == rendered[0]


def test_names_from_a_history_are_text_and_nothing_else():
    hostile = [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "$\\frac{$",
        "]]>&amp;",
        "a\x00b\u202ec",
        "日本語🙂",
        "_x",
    ]
    names = [f"{KIND}:{name}" for name in hostile]
    events = [
        Event(
            user=hostile[0], session=f"{number}{hostile[1]}", time_s=30.0 * at, action="do", resources=(names[at % 7],)
        )
        for number in range(5)
        for at in range(28)
    ]
    fit, test = split_sessions(group_sessions(events), SplitRule())
    study = conduct(plan(fit=fit, test=test, budget=3.0, waste=0.5), evidence=True, frontier=True)
    html, page = page_of(study, title=hostile[1])
    assert not page.tags & {"script", "img"}
    assert not page.handlers
    assert "&lt;script&gt;" in html
    assert "日本語🙂" in html
    assert "\x00" not in html
    assert "\u202e" not in html.split("<svg", 1)[1].rsplit("</svg>", 1)[0].split("<p>Session")[0]


def test_a_report_without_any_preload_says_so():
    html, _ = page_of(conduct(plan(policy="none"), evidence=True, frontier=True))
    assert "Nothing was preloaded" in html


def test_interrupted_it_leaves_no_half_written_file(monkeypatch, run_cli, history, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("preloader.replay.outcomes.OutcomeRecorder.see", interrupt)
    out = tmp_path / "out"
    code, _, err = run_cli(
        "replay", history, "--component", KIND, "--report", out / "report.html", "--emit-outcomes", out / "rows.parquet"
    )
    assert code == 130
    assert "Traceback" not in err
    assert list(out.iterdir()) == []


def replay_of_data(run_cli, name, component, sessions):
    folder = os.environ.get("PRELOADER_DATASETS")
    if not folder:
        pytest.skip("PRELOADER_DATASETS is not set")
    code, out, _ = run_cli(
        "replay", f"{folder}/{name}", "--component", component, "--limit-sessions", sessions, "--json"
    )
    assert code == 0
    return {row["run"]: row for row in msgspec.json.decode(out)["rows"]}


def test_on_coding_agents_preloading_lies_between_lru_and_the_clairvoyant(run_cli):
    rows = replay_of_data(run_cli, "agent-sessions/events.jsonl.gz", "tool_command", 10)
    assert (
        rows["lru"]["timely_hit_rate"] < rows["preloader"]["timely_hit_rate"] < rows["clairvoyant"]["timely_hit_rate"]
    )


def test_on_dialogues_the_words_cover_much_of_what_lru_misses(run_cli):
    rows = replay_of_data(run_cli, "sgd/dev.jsonl.gz", "skill", 150)
    assert rows["preloader"]["coverage"] > 0.25
    assert rows["clairvoyant"]["coverage"] > 0.9


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
