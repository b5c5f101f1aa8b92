"""Counterfactual labels on histories small enough to work them out by hand: every resource is 100 bytes unless said."""

import gzip

import msgspec
import pytest

from preloader.decision import make_policy
from preloader.errors import ConfigurationError
from preloader.events import Event
from preloader.history import Session
from preloader.ports import Budget, Cost
from preloader.replay.outcome_file import outcome_file
from preloader.replay.outcomes import MAX_CANDIDATES, OutcomeRecorder, OutcomeRow, reuses
from preloader.replay.script import write_script
from preloader.replay.sizes import SimulatedProvider
from preloader.replay.watch import Moment
from preloader.testing import fake_prediction


def session(names, gap_s=10.0):
    events = tuple(
        Event(user="u", session="s", time_s=gap_s * at, action="do", resources=(f"tool:{name}",))
        for at, name in enumerate(names)
    )
    return write_script([Session("u", "s", events)], "tool")[0]


def provider(dependencies=None, **sizes):
    return SimulatedProvider(
        lambda key: Cost(1.0, sizes.get(key[5:], 100)), lambda key: (dependencies or {}).get(key, ())
    )


def rows_after(script, step, capacity, provider_=None, predictions=(), residents=(), vocabulary=("a", "b", "c", "d")):
    provider_ = provider_ or provider()
    rows = []
    recorder = OutcomeRecorder(rows.append, provider_, {f"tool:{name}": 1 for name in vocabulary})
    budget = Budget(capacity, capacity, provider_.cost)
    decisions = make_policy("thresholds").decide(predictions, residents, budget)
    recorder.see(Moment(script, step, predictions, decisions, residents, budget))
    return {row.key[5:]: row for row in rows}


def used(script, step, capacity, provider_=None):
    return {name: row.used for name, row in rows_after(script, step, capacity, provider_).items()}


def test_what_is_never_used_again_is_not_used():
    assert used(session("abab"), 0, 1_000) == {"a": True, "b": True, "c": False, "d": False}


def test_what_is_used_at_the_end_of_the_session_is_used_and_what_comes_after_does_not_count():
    script = session("abc")
    assert used(script, 1, 1_000)["c"]
    assert not any(used(script, 2, 1_000).values())


def test_it_stays_as_long_as_it_fits_beside_the_distinct_resources_used_meanwhile():
    script = session("xabcd")  # d after three others: it needs room for four
    assert used(script, 0, 399)["d"] is False
    assert used(script, 0, 400)["d"] is True
    repeated = session("xababababd")  # many needs, but two distinct ones
    assert used(repeated, 0, 300)["d"] is True
    assert used(repeated, 0, 299)["d"] is False


def test_the_candidates_own_size_counts():
    script = session("xabd")
    assert used(script, 0, 400, provider(d=200))["d"] is True
    assert used(script, 0, 399, provider(d=200))["d"] is False


def test_dependencies_of_what_is_used_meanwhile_take_room_once():
    shared = {"tool:a": ("tool:lib",), "tool:b": ("tool:lib",)}
    script = session("xabd")
    assert used(script, 0, 400, provider(shared))["d"] is True
    assert used(script, 0, 399, provider(shared))["d"] is False


def test_distances_in_needs_and_seconds():
    found = reuses(session("xabad"), 0, provider(), 10_000)
    assert {key[5:]: (reuse.needs, reuse.seconds, reuse.bytes_between) for key, reuse in found.items()} == {
        "a": (1, 10.0, 0),
        "b": (2, 20.0, 100),
        "d": (4, 40.0, 200),
    }


def test_beyond_a_whole_budget_nothing_is_looked_for():
    assert "tool:d" not in reuses(session("xabcd"), 0, provider(), 250)


def test_features_say_what_was_known():
    script = session("abacx")
    row = rows_after(script, 3, 1_000, predictions=[fake_prediction("tool:b", 0.5, 0.2)])["b"]
    assert (row.user, row.session, row.event, row.time_s) == ("u", "s", 3, 30.0)
    assert (row.rank, row.per_step, row.p_use_soon) == (0, (0.5, 0.2), pytest.approx(0.6))
    assert (row.needs_since_use, row.seconds_since_use, row.uses_in_session) == (3, 20.0, 1)
    assert (row.session_needs, row.session_age_s) == (4, 30.0)
    assert (row.bytes, row.load_s, row.capacity_bytes, row.tier) == (100, 1.0, 1_000, 2)
    unseen = rows_after(script, 3, 1_000)["d"]
    assert (unseen.rank, unseen.per_step, unseen.needs_since_use, unseen.tier) == (None, (), None, None)


def test_residents_are_no_candidates_and_candidates_are_bounded():
    many = [f"k{number:03}" for number in range(200)]
    rows = rows_after(session("ab"), 0, 1_000, residents={"tool:k000"}, vocabulary=many)
    assert list(rows) == many[1 : MAX_CANDIDATES + 1]


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_every_format_holds_the_same_rows(tmp_path, name):
    rows = list(rows_after(session("abac"), 1, 250, predictions=[fake_prediction("tool:c", 0.25, 0.5)]).values())
    with outcome_file(tmp_path / name) as emit:
        for row in rows:
            emit(row)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert read_back(tmp_path / name) == rows


def read_back(path):
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        return msgspec.convert(parquet.read_table(path).to_pylist(), list[OutcomeRow])
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [msgspec.json.decode(line, type=OutcomeRow) for line in text.splitlines()]


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_what_is_interrupted_leaves_the_file_before_it_and_no_part(tmp_path, name):
    path = tmp_path / name
    path.write_text("before")

    def write_and_be_interrupted():
        with outcome_file(path) as emit:
            emit(rows_after(session("ab"), 0, 250)["b"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_be_interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigurationError, match=r"file/out\.jsonl cannot be written"),
        outcome_file(tmp_path / "file" / "out.jsonl"),
    ):
        pass
