"""A manager over fakes on virtual time, for the tests of the manager."""

from preloader.events import Event, Need, Preload
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.replay.clock import run_virtual
from preloader.settings import Settings
from preloader.testing import FakePredictor

MB = 1_000_000


def costs(*names, seconds=1.0, size=100 * MB):
    return {f"component:{name}": Cost(seconds, size) for name in names}


def event(action, session="s", user="u", time_s=0.0, **fields):
    return Event(user=user, session=session, time_s=time_s, action=action, **fields)


class Scene:
    """A manager over fakes, with everything that its ledger says."""

    def __init__(self, provider, answers=None, **options):
        self.provider = provider
        self.ended = []
        settings = Settings(**{"waste_budget": None, "retry_wait_s": 0.1, **options.pop("settings", {})})
        self.manager = PreloadManager(
            {"component": provider},
            predictor=FakePredictor(answers or {}),
            settings=settings,
            listeners=[self.ended.append],
            **options,
        )

    @property
    def needs(self):
        return [(need.key.removeprefix("component:"), need.outcome) for need in self.ended if isinstance(need, Need)]

    @property
    def preloads(self):
        return [
            (preload.key.removeprefix("component:"), preload.outcome)
            for preload in self.ended
            if isinstance(preload, Preload)
        ]

    def reasons(self):
        return [preload.reason for preload in self.ended if isinstance(preload, Preload)]


def run(scene, script):
    async def main():
        async with scene.manager as manager:
            return await script(manager)

    return run_virtual(main())
