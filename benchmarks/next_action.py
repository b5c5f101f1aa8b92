"""How often the rules name an agent's next action, beside its previous action alone, on recorded sessions.

    PRELOADER_DATASETS=… python -m benchmarks.next_action

Counts of what follows what come from each repository's first four fifths of sessions, both predictors are scored on the
rest. What is known is what the agent has said since its last call. Not part of ``make bench``: it needs the data set.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from benchmarks.harness import machine
from benchmarks.mention_recall import Session, data_set, interval, sessions
from preloader.workspace.next_action import ACTIONS, Action, NextAction, action_of_call

Step = tuple[Action | None, str, Action]


def split(every: Sequence[Session]) -> tuple[list[Session], list[Session]]:
    """Return each repository's first four fifths of sessions, and the rest."""
    streams: dict[str, list[Session]] = defaultdict(list)
    for session in sorted(every, key=lambda session: session.items[0].at):
        streams[session.repository].append(session)
    cuts = [(stream, len(stream) * 4 // 5) for stream in streams.values()]
    return [one for stream, cut in cuts for one in stream[:cut]], [one for stream, cut in cuts for one in stream[cut:]]


def steps(session: Session) -> Iterator[Step]:
    """Yield each action with the one before it and what was said in between; the user's turn is ``done``."""
    previous: Action | None = None
    said = ""
    for item in session.items:
        if item.type == "assistant_text":
            said += item.text + "\n"
            continue
        action = action_of_call(item.name, item.arguments) if item.type == "tool_call" else None
        if item.type == "user_text" and previous not in (None, "done"):
            action = "done"
        if action is not None:
            yield previous, said, action
        if action is not None or item.type == "user_text":
            previous, said = action or previous, ""


def by_rules(previous: Action | None, said: str) -> list[Action]:
    """Return the actions as the rules rank them."""
    rules = NextAction()
    if previous is not None:
        rules.acted(previous)
    rules.said(said)
    return [action for action, _ in rules.predict()]


def main() -> None:
    """Print one row for each predictor, with handing over to the user among the actions and without."""
    fit, test = split(list(sessions(data_set("agent-transcripts"))))
    follows: dict[Action | None, Counter[Action]] = defaultdict(Counter)
    for session in fit:
        for previous, _, action in steps(session):
            follows[previous][action] += 1
    predictors = {
        "previous action alone": lambda previous, said: sorted(ACTIONS, key=lambda one: -follows[previous][one]),
        "rules": by_rules,
    }
    print(f"{len(test)} sessions, {machine()}\n\n| predictor | actions | top-1 | top-2 |\n|---|---|---|---|")
    for name, predict in predictors.items():
        for actions in (ACTIONS, ACTIONS[:-1]):
            places = [
                [
                    [one for one in predict(previous, said) if one in actions].index(action)
                    for previous, said, action in of
                ]
                for of in ([step for step in steps(session) if step[2] in actions] for session in test)
            ]
            cells = [interval([[place < top for place in session] for session in places]) for top in (1, 2)]
            print(f"| {name} | {len(actions)} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
