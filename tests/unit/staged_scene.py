"""A manager over a staged predictor, for the tests of inference off the loop."""

import asyncio
import threading

from preloader.events import Event
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.settings import Settings
from preloader.testing import FakeProvider, fake_prediction

KEYS = [f"component:item{at}" for at in range(12)]
ANSWERS = {action: [fake_prediction(f"component:item{at}", 0.95, 0.0, 0.0)] for at, action in enumerate("abcdef")}


def event(action, session="s"):
    return Event(user="u", session=session, time_s=0.0, action=action)


class Gate:
    """Holds every `infer` in its thread until it is opened; says when one has come in."""

    def __init__(self):
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.threads = set()
        self.inside = 0

    def __call__(self, contexts):
        self.threads.add(threading.get_ident())
        self.inside += 1
        self.entered.release()
        assert self.open.wait(20)
        self.inside -= 1

    async def reached(self):
        while not self.entered.acquire(blocking=False):
            await asyncio.sleep(0.001)


class Scene:
    def __init__(self, predictor, **options):
        self.decided = []
        settings = Settings(waste_budget=None, **options.pop("settings", {}))
        self.provider = FakeProvider({key: Cost(0.0, 10) for key in KEYS})
        self.manager = PreloadManager(
            {"component": self.provider},
            predictor=predictor,
            settings=settings,
            decided=lambda event, decisions: self.decided.append((event.session, event.action, decisions)),
            **options,
        )

    @property
    def order(self):
        return [(session, action) for session, action, _ in self.decided]

    @property
    def counts(self):
        return self.manager.statistics().counts


def run(scene, script, runner=asyncio.run):
    async def main():
        async with scene.manager as manager:
            return await script(manager)

    return runner(main())
