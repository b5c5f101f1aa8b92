"""After which calls agents ask git, run tests or check a file, on the fit part of recorded sessions.

    PRELOADER_DATASETS=… python -m benchmarks.next_facts

Shares of the moments right after a call of a sort, among whose next five calls is one that asks so. What
`preloader.workspace.expected_facts` holds comes from here. Not part of ``make bench``: it needs the data set.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from benchmarks.harness import machine
from benchmarks.mention_recall import data_set
from preloader.history.reader import ReadReport
from preloader.workspace.learn.items import Item, read_recordings, split
from preloader.workspace.learn.safe_calls import signature

_WITHIN, _SHOWN = 5, 25
_EDITS = frozenset(("Edit", "Write", "MultiEdit", "NotebookEdit"))
_ASKS = {
    "status": re.compile(r"\bgit\s+status"),
    "diff": re.compile(r"\bgit\s+(--no-pager\s+)?diff"),
    "blame": re.compile(r"\bgit\s+blame"),
    "test": re.compile(r"pytest|jest|vitest|npm (run )?test|cargo test|go test|unittest"),
    "check": re.compile(r"py_compile|tsc|ruff|eslint|mypy|node --check|cargo check|go vet|go build"),
}


def main() -> None:
    """Print one row for each sort of call."""
    sessions = split(read_recordings(data_set("agent-transcripts"), ReadReport())).fit
    print(machine())
    made, asked = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for session in sessions:
        calls = [item for item in session.items if item.type == "tool_call"]
        for at, call in enumerate(calls):
            sort = "edit" if call.tool in _EDITS else signature(call.tool, call.arguments)
            made[sort] += 1
            asked[sort].update(_asked(calls[at + 1 : at + 1 + _WITHIN]))
    for sort, count in made.most_common(_SHOWN):
        shares = "  ".join(f"{name} {asked[sort][name] / count:.2f}" for name in _ASKS)
        print(f"{sort:24} {count:>6,}  {shares}")


def _asked(calls: Sequence[Item]) -> set[str]:
    commands = "\n".join(str(call.arguments.get("command", "")) for call in calls if call.tool == "Bash")
    return {name for name, pattern in _ASKS.items() if pattern.search(commands)}


if __name__ == "__main__":
    main()
