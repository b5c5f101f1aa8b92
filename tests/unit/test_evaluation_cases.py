import pytest

from preloader.errors import HistoryError
from preloader.evaluation.cases import items_of, learnable, walk, without_repeats
from preloader.evaluation.task import Task, task_of_parts, task_of_split
from preloader.events import CONTEXT_EVENTS, Event
from preloader.history import Session, SplitRule
from preloader.history.annotations import without_annotations


def event(time_s, *resources, user="ann", session="s", **fields):
    return Event(user=user, session=session, time_s=time_s, action="a", resources=resources, **fields)


def session(*events, user="ann", name="s"):
    return Session(user, name, events)


def contexts(one, kind="k"):
    return [case.context for cases, _ in walk(one, kind) for case in cases]


def test_nothing_of_the_predicted_event_is_known():
    one = session(event(1, "k:a", text="first"), event(2, "k:b", text="second", ok=True))
    assert [context.recent for context in contexts(one)] == [(), (one.events[0],)]


def test_an_outcome_is_known_once_the_event_has_ended():
    slow, quick = event(1, "k:a", ok=True, duration_s=5.0), event(2, "k:b", ok=False, duration_s=0.5)
    after_slow, after_both, _ = contexts(session(slow, quick, event(3, "k:c"), event(7, "k:d")))[1:]
    assert [(known.ok, known.duration_s) for known in after_slow.recent] == [(None, None)]
    assert [(known.ok, known.duration_s) for known in after_both.recent] == [(None, None), (False, 0.5)]
    assert contexts(session(slow, quick, event(6, "k:c")))[2].recent[0].ok is True


def test_an_event_is_learned_as_it_was_known_when_the_next_began():
    one = session(event(1, "k:a", ok=True, duration_s=5.0), event(2, "k:b", ok=True, duration_s=5.0))
    assert [learned.ok for learned in learnable(one)] == [None, True]
    assert [learned for _, learned in walk(one, "k")] == list(learnable(one))


def test_of_several_items_of_one_event_each_knows_those_before_it_and_nothing_else():
    one = session(event(1, "j:x", "k:a", "j:y", "k:a", "k:b", text="words", ok=True, duration_s=0.0))
    first, second, third = contexts(one)
    assert first.recent == ()
    assert second.recent == (event(1, "k:a"),)
    assert third.recent == (event(1, "k:a", "k:a"),)


def test_positions_count_items_over_the_whole_session():
    one = session(event(1, "k:a"), event(2), event(3, "k:b", "k:c"))
    assert [case.position for cases, _ in walk(one, "k") for case in cases] == [0, 1, 2]
    assert items_of(one, "k") == ["k:a", "k:b", "k:c"]


def test_a_context_holds_so_many_events_and_no_more():
    one = session(*(event(number, f"k:{number}") for number in range(100)))
    last = contexts(one)[-1].recent
    assert len(last) == CONTEXT_EVENTS
    assert last[-1].resources == ("k:98",)


def test_repeats_are_removed_with_events_that_had_nothing_else():
    one = session(
        event(1, "k:a", "j:x"),
        event(2, "k:a", "j:y"),
        event(3, text="words"),
        event(4, "k:a", "k:b", "k:b"),
        event(5, "k:a"),
    )
    left = without_repeats(one, "k")
    assert items_of(left, "k") == ["k:a", "k:b", "k:a"]
    assert [kept.time_s for kept in left.events] == [1, 3, 4, 5]


def test_annotations_are_hidden_unless_they_are_what_is_predicted():
    one = session(event(1, text="words"), event(1, "intent:find"), event(2, "skill:x"), event(3, "intent:b", text="w"))
    seen = without_annotations(one, "skill")
    assert [(kept.text, kept.resources) for kept in seen.events] == [("words", ()), (None, ("skill:x",)), ("w", ())]
    assert without_annotations(one, "intent") is one


def days(user, number, kind="k"):
    return [
        session(event(day, f"{kind}:{day % 2}", user=user), user=user, name=f"{user}{day}") for day in range(number)
    ]


def test_sessions_without_an_item_do_not_move_the_cut():
    held, empty = days("ann", 10), days("ann", 200, kind="j")[10:]
    task = task_of_split([*held, *empty], SplitRule(), "k")
    assert [len(task.fit), len(task.test)] == [8, 2]


def test_a_task_says_how_much_there_is():
    task = Task("k", days("ann", 8), [session(event(9, "k:0"), event(9, "k:0"), event(10, "k:new"))])
    summary = task.summary()
    assert (summary.fit_sessions, summary.fit_items, summary.test_items, summary.vocabulary) == (8, 8, 3, 2)
    assert summary.unseen_share == pytest.approx(1 / 3)
    assert Task(task.kind, task.fit, task.test, drop_repeats=True).summary().test_items == 2


def test_a_kind_that_no_event_has_is_refused_with_those_there_are():
    with pytest.raises(HistoryError, match=r"'x'; it has k, j"):
        task_of_split([*days("ann", 10), *days("bob", 10, "j")], SplitRule(), "x")
    with pytest.raises(HistoryError, match=r"history to test on .* 'k'; it has j"):
        task_of_parts(days("ann", 3), days("ann", 3, "j"), SplitRule(), "k")


def test_too_few_sessions_are_refused():
    with pytest.raises(HistoryError, match=r"too few sessions .* 4: .* at least 5"):
        task_of_split(days("ann", 4), SplitRule(min_sessions=5), "k")
