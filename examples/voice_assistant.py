"""A voice assistant whose components are ready before they are needed.

It lives through the same morning several times, and each night its memory is wanted elsewhere. On the first day it
waits for every component; soon it has learned what comes next, and waits for none. Run it::

    python examples/voice_assistant.py
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from preloader.components import ComponentRegistry
from preloader.events import Event, Need, Preload
from preloader.manager import PreloadManager
from preloader.ports import Executor

DAYS = 4
SPEECH_S = 0.2  # how long the user takes for each sentence
MORNING = (  # what is heard, and the component that serves it
    ("(steps in the kitchen)", None),
    ("good morning", "asr"),
    ("what is on today?", "calendar"),
    ("read it to me, please", "tts"),
)

registry = ComponentRegistry.from_toml(Path(__file__).with_name("components.toml"))


@registry.component("calendar", bytes=60_000_000, load_s=0.05)
def load_calendar() -> list[str]:
    """Stand for slow, blocking work: it runs on a thread, and the loop goes on."""
    time.sleep(0.05)
    return json.loads('["09:00 dentist", "18:30 choir"]')  # type: ignore[no-any-return]


class Diary:
    """Writes down how each need of the day ended."""

    def __init__(self) -> None:
        self.needs: list[Need] = []

    def note(self, record: Need | Preload) -> None:
        """Take one record of the manager's ledger."""
        if isinstance(record, Need):
            self.needs.append(record)

    def close(self, day: int) -> str:
        """Return the day in one line, and begin a new one."""
        waited_ms = 1_000 * sum(need.waited_s for need in self.needs)
        words = ", ".join(f"{need.key.removeprefix('component:')} {need.outcome}" for need in self.needs)
        self.needs.clear()
        return f"day {day}: waited {waited_ms:4.0f} ms ({words})"


async def live_through(manager: PreloadManager, day: int) -> None:
    """Play one morning: serve each sentence, tell the manager, and let the user speak on."""
    session = f"day {day}"
    for sentence, component in MORNING:
        keys = (f"component:{component}",) if component else ()
        for key in keys:
            await manager.get(key, user="ana", session=session)
        action = component or "sensor"
        manager.observe(
            Event(user="ana", session=session, time_s=time.time(), action=action, text=sentence, resources=keys)
        )
        await asyncio.sleep(SPEECH_S)
    manager.end_session("ana", session)


async def main(executor: Executor | None = None) -> list[str]:
    """Live through all days, and return what was printed.

    Args:
        executor: Where blocking loaders run; threads unless given.
    """
    diary, lines = Diary(), []
    providers = {"component": registry.provider()}
    async with PreloadManager(providers, executor=executor, listeners=[diary.note]) as manager:
        for day in range(1, DAYS + 1):
            await live_through(manager, day)
            await manager.clear()
            lines.append(diary.close(day))
            print(lines[-1])
        totals = manager.statistics().ledger
        lines.append(f"preloads used {totals.preloads['used']}, wasted {totals.preloads['wasted']}")
        print(lines[-1])
    return lines


if __name__ == "__main__":
    asyncio.run(main())
