from preloader.events import Need, NeedOutcome, Preload, PreloadOutcome, Tier
from preloader.replay.run import Recording, Span
from preloader.replay.timeline import choose


def need(session, key, outcome=NeedOutcome.HIT):
    return Need(key=f"tool:{key}", user="u", session=session, time_s=0.0, outcome=outcome, waited_s=0.0)


def preload(session, key, started_s, ended_s):
    return Preload(
        key=f"tool:{key}",
        user="u",
        session=session,
        tier=Tier.IMMEDIATE,
        probability=1.0,
        steps=1,
        bytes=1,
        queued_s=started_s or 0.0,
        started_s=started_s,
        ready_s=started_s,
        ended_s=ended_s,
        outcome=PreloadOutcome.USED,
        reason="",
    )


def recording(needs, preloads, spans):
    asked_s, ended = zip(*needs, strict=True) if needs else ((), ())
    return Recording("preloader", list(ended), list(asked_s), preloads, [Span("u", *span) for span in spans], 0, 0.0)


def test_the_session_with_most_useful_preloads_is_shown_and_nothing_of_the_one_before_it():
    """The first session's last need and the second's start fall on the same moment."""
    needs = [(0.0, need("one", "a")), (10.0, need("one", "b")), (12.0, need("two", "c")), (15.0, need("two", "d"))]
    preloads = [preload("one", "b", 10.0, 10.0), preload("two", "c", 10.0, 12.0), preload("two", "d", 13.0, 15.0)]
    excerpt = choose(recording(needs, preloads, [("one", 0.0, 10.0), ("two", 10.0, 15.0)]))
    assert excerpt.span.session == "two"
    assert [found.key for _, found in excerpt.needs] == ["tool:c", "tool:d"]
    assert excerpt.lanes == ["tool:c", "tool:d"]


def test_a_long_session_is_cut_to_what_a_drawing_bears():
    needs = [(float(at), need("one", str(at % 40))) for at in range(200)]
    preloads = [preload("one", "0", float(at), at + 1.0) for at in range(0, 200, 40)]
    excerpt = choose(recording(needs, preloads, [("one", 0.0, 200.0)]))
    assert len(excerpt.lanes) <= 14
    assert all(found.started_s <= excerpt.needs[-1][0] for found in excerpt.preloads)


def test_what_never_started_is_not_drawn_and_without_needs_there_is_nothing_to_show():
    dropped = preload("one", "x", None, 3.0)
    assert choose(recording([(0.0, need("one", "a"))], [dropped], [("one", 0.0, 1.0)])).preloads == []
    assert choose(recording([], [], [("one", 0.0, 1.0)])) is None
