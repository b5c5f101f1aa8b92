"""Which facts an agent asks for next, by how often that came in recorded sessions.

Each probability is the share of such moments after which one of the next five calls asked for it, in the fit sessions
of ``agent-transcripts`` (`benchmarks.next_facts`), where agents ask by commands. Most are small, so that nothing is
prepared for an agent that does not ask. Where one does, its patterns' record soon raises them
(`preloader.workspace.trials`).
"""

from __future__ import annotations

from collections.abc import Mapping

from preloader.workspace.expecting import Expected
from preloader.workspace.learn.safe_calls import signature

_AFTER_EDIT = {"git diff": 0.04, "git status": 0.03, "git diff {path}": 0.04, "test files {path}": 0.09}
_IMPACT = 0.09  # as often as tests are run after an edit
_AFTER_CALL: Mapping[str, Mapping[str, float]] = {
    "Bash git add": {"git status": 0.25, "git diff": 0.15},
    "Bash git commit": {"git status": 0.14},
    "Bash git diff": {"git diff": 0.42, "git status": 0.22},
    "Bash git log": {"git diff": 0.26, "git status": 0.13},
    "Bash git status": {"git diff": 0.47, "git status": 0.24},
}
_SOONEST = 2  # calls ahead: these are no announcements


def after_edit(path: str, *, with_graph: bool) -> list[Expected]:
    """Return what may be asked for after an edit of a file.

    Args:
        path: The file.
        with_graph: Whether there is a code graph that says what the edit means.
    """
    facts = {**_AFTER_EDIT, "impact {path}": _IMPACT} if with_graph else _AFTER_EDIT
    return [Expected(f"fact:{name.replace('{path}', path)}", chance, _SOONEST) for name, chance in facts.items()]


def outdated_by_edit(path: str) -> tuple[str, ...]:
    """Return the keys of facts that an edit of a file makes untrue; one that is ready is not got ready again."""
    return tuple(f"fact:{name}" for name in ("git status", "git diff", f"git diff {path}", "impact", f"impact {path}"))


def after_call(tool: str, arguments: Mapping[str, object]) -> list[Expected]:
    """Return what may be asked for after a call."""
    return _expected(signature(tool, arguments))


def after_fact(name: str) -> list[Expected]:
    """Return what may be asked for after a fact, as after the command that tells the same."""
    return [one for one in _expected(f"Bash {' '.join(name.split(' ')[:2])}") if one.key != f"fact:{name}"]


def _expected(before: str) -> list[Expected]:
    return [Expected(f"fact:{name}", chance, _SOONEST) for name, chance in _AFTER_CALL.get(before, {}).items()]
