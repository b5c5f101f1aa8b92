from preloader.events import Event
from preloader.history import Session
from preloader.ports import Cost
from preloader.replay.script import vocabulary, write_script
from preloader.replay.sizes import MB, SimulatedProvider, drawn_cost, mean_bytes


def event(at_s, *names, duration_s=None, ok=None, action="do"):
    resources = tuple(name if ":" in name else f"tool:{name}" for name in names)
    return Event(user="u", session="s", time_s=at_s, action=action, resources=resources, duration_s=duration_s, ok=ok)


def script(*events, repeats="dropped"):
    return write_script([Session("u", "s", events)], "tool", repeats)[0]


def test_pauses_are_the_recorded_gaps_and_never_negative():
    assert [step.pause_s for step in script(event(10.0), event(12.5), event(12.5), event(11.0)).steps] == [0, 2.5, 0, 0]


def test_consecutive_repeats_are_no_needs_even_across_events_without_any():
    played = script(event(0, "a"), event(1, "a", "b"), event(2), event(3, "b"), event(4, "a", "a"))
    assert list(played.needs()) == ["tool:a", "tool:b", "tool:a"]


def test_kept_repeats_are_needs():
    played = script(event(0, "a"), event(1, "a", "b"), event(2, "b"), repeats="kept")
    assert list(played.needs()) == ["tool:a", "tool:a", "tool:b", "tool:b"]


def test_other_kinds_are_context_and_items_keep_their_repeats():
    played = script(event(0, "a", "file:x"), event(1, "a"), event(2, "file:a"))
    assert list(played.needs()) == ["tool:a"]
    assert [step.items for step in played.steps] == [("tool:a",), ("tool:a",), ()]


def test_a_result_that_lies_in_the_future_is_not_observed():
    step = script(event(0, "a", duration_s=3.0, ok=True)).steps[0]
    assert (step.event.ok, step.event.duration_s) == (None, None)
    assert step.event.resources == ("tool:a",)


def test_the_vocabulary_counts_all_uses_most_frequent_first():
    sessions = [Session("u", "s", (event(0, "b", "a"), event(1, "c", "a", "file:x")))]
    assert list(vocabulary(sessions, "tool").items()) == [("tool:a", 2), ("tool:b", 1), ("tool:c", 1)]


def test_drawn_sizes_are_log_uniform_and_loading_takes_what_the_protocol_says():
    costs = [drawn_cost(f"tool:{number}", 1) for number in range(2_000)]
    assert min(cost.bytes for cost in costs) >= 50 * MB
    assert max(cost.bytes for cost in costs) <= 500 * MB
    below_geometric_mean = sum(cost.bytes < (50 * 500) ** 0.5 * MB for cost in costs) / len(costs)
    assert abs(below_geometric_mean - 0.5) < 0.04
    paces = [cost.bytes / MB / (cost.seconds - 0.15) for cost in costs]
    assert 120 <= min(paces) < 125
    assert 328 < max(paces) <= 333


def test_a_drawn_size_depends_on_its_name_and_seed_alone():
    assert drawn_cost("tool:a", 3) == drawn_cost("tool:a", 3)
    assert drawn_cost("tool:a", 3) != drawn_cost("tool:a", 4)
    assert drawn_cost("tool:a", 3) != drawn_cost("tool:b", 3)
    assert drawn_cost("tool:a", 0) == Cost(seconds=drawn_cost("tool:a", 0).seconds, bytes=drawn_cost("tool:a", 0).bytes)


def test_the_budgets_unit_is_the_mean_size_with_dependencies():
    sizes = {"a": 10, "b": 30, "lib": 100}
    alone = SimulatedProvider(lambda key: Cost(1.0, sizes[key]))
    based = SimulatedProvider(lambda key: Cost(1.0, sizes[key]), lambda key: {"b": ("lib",)}.get(key, ()))
    assert mean_bytes(["a", "b"], alone) == 20
    assert mean_bytes(["a", "b"], based) == 70
