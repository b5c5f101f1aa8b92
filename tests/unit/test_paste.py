"""The pattern miner learns which tool follows which events, and where its arguments come from."""

from preloader.evaluation.paste import PasteMiner, ToolEvent, contexts


def event(tool: str, output: str = "", **arguments: object) -> ToolEvent:
    """Return an event whose tool is its signature."""
    return ToolEvent(tool, tool, arguments, output)


def test_contexts_keep_the_order_and_may_leave_events_out() -> None:
    before = [event("a"), event("b"), event("c")]
    assert set(contexts(before)) == {("c",), ("a", "c"), ("b", "c"), ("a", "b", "c")}
    assert list(contexts([])) == [("^",)]


def test_an_argument_is_derived_from_an_earlier_output() -> None:
    miner = PasteMiner()
    for number in range(6):
        found = f"src/f{number}.py\nsrc/other{number}.py"
        miner.learn([event("Grep", found, pattern=f"x{number}"), event("Read", "text", file_path=f"src/f{number}.py")])
    best = miner.predict([event("Grep", "lib/new.py\nlib/old.py", pattern="y")])[0]
    assert (best.tool, best.arguments) == ("Read", {"file_path": "lib/new.py"})
    assert 0.3 < best.confidence < 1


def test_an_argument_is_taken_from_an_earlier_call_or_is_constant() -> None:
    miner = PasteMiner()
    for number in range(6):
        miner.learn(
            [
                event("Edit", "done", file_path=f"a{number}.py"),
                event("Read", "text", file_path=f"a{number}.py"),
                event("Bash", "clean", command="git status"),
            ]
        )
    assert miner.predict([event("Edit", "", file_path="z.py")])[0].arguments == {"file_path": "z.py"}
    after = miner.predict([event("Edit", "", file_path="z.py"), event("Read", "", file_path="z.py")])
    assert after[0].arguments == {"command": "git status"}
    assert [one.confidence for one in after] == sorted((one.confidence for one in after), reverse=True)


def test_what_was_seen_too_rarely_is_no_pattern() -> None:
    miner = PasteMiner()
    miner.learn([event("Grep", "a/b.py"), event("Read", file_path="a/b.py")])
    assert miner.predict([event("Grep", "a/c.py")]) == []
    assert PasteMiner().predict([event("Grep")]) == []
