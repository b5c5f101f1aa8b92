"""A manager whose loads are tried once, for the tests of what happens at once."""

from preloader.events import Event, Need, Preload
from preloader.manager import PreloadManager
from preloader.ports import Cost, Loaded
from preloader.replay.clock import run_virtual
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, fake_prediction


def costs(*names, seconds=1.0, size=100):
    return {f"component:{name}": Cost(seconds, size) for name in names}


def sure(name, p=0.95):
    return fake_prediction(f"component:{name}", p)


class Scene:
    def __init__(self, provider, answers=None, *, listeners=(), **options):
        self.provider = provider
        self.ended = []
        settings = {"waste_budget": None, "load_attempts": 1, **options.pop("settings", {})}
        self.manager = PreloadManager(
            {"component": provider},
            predictor=FakePredictor(answers or {}),
            settings=Settings(**settings),
            listeners=[self.ended.append, *listeners],
            **options,
        )

    def observe(self, action, session="s"):
        return self.manager.observe(Event(user="u", session=session, time_s=0.0, action=action))

    def preloads(self):
        return [(end.key[-1], end.outcome, end.reason) for end in self.ended if isinstance(end, Preload)]

    def needs(self):
        return [(end.key[-1], end.outcome) for end in self.ended if isinstance(end, Need)]

    def run(self, script):
        async def main():
            async with self.manager as manager:
                await script(manager)

        run_virtual(main())


class Growing(FakeProvider):
    """Makes more than it said."""

    async def load(self, key):
        loaded = await super().load(key)
        return Loaded(loaded.value, 10 * loaded.bytes)


def manager_count(scene, name):
    return scene.manager.statistics().counts.get(name, 0)
