"""What a session's memory lets go of, so that a session that never ends takes no more than so much room and time."""

from __future__ import annotations

import numpy as np

from preloader.workspace.learn.evidence import NEVER
from preloader.workspace.learn.memory import SessionMemory

MOST_PATHS = 8_192
"""How many paths a session's memory holds at most; those of earlier sessions are among them."""

KEPT_PATHS = MOST_PATHS // 2
"""How many it keeps when it has so many."""

_USED = 4  # one in so many of those that are kept are those used last, whether they were named or not


def make_room(memory: SessionMemory) -> bool:
    """Forget what was neither used nor named for longest, where there are too many paths.

    Returns:
        Whether it was necessary: paths have other numbers then.
    """
    count = len(memory.book)
    if count < MOST_PATHS:
        return False
    named = memory.evidence.of("item", count).max(axis=1, initial=NEVER)
    past = np.array([memory.habits.named[path] for path in memory.book.paths], np.float64)
    worth = np.where(named > NEVER, named, past - 1e6)  # what is only known from earlier sessions goes first
    worth[list(dict.fromkeys(memory.used[-(KEPT_PATHS // _USED) :]))] = np.inf
    memory.keep(np.sort(np.argpartition(-worth, KEPT_PATHS)[:KEPT_PATHS]))
    return True
