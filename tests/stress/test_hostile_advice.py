"""Every attempt of `hostile_world` as a model's advice: refused, or harmless where it is prepared after all."""

import asyncio
import os
from types import SimpleNamespace

import msgspec
import pytest

from preloader.errors import PreloaderError
from preloader.manager import PreloadManager
from preloader.settings import Settings
from preloader.workspace.advice.answer import Admitted, GuessedArgument, GuessedCall, GuessedFile, NextStep, admitted
from preloader.workspace.files import SourceFile
from preloader.workspace.listing import listing_of
from preloader.workspace.path_table import PathTable
from preloader.workspace.paths import Confined
from tests.stress.hostile_world import CANARY, World, attempts, paths
from tests.stress.test_hostile_workspace import Attacker

pytestmark = pytest.mark.skipif(os.name != "posix", reason="FIFOs, devices and links are those of POSIX systems")


def guesses(world):
    """Yield every attempt that a schema lets through, one an answer."""
    for _, text in paths(world):
        yield NextStep([GuessedFile(text, 0.9)], [])
    for attempt in attempts(world):
        try:
            pairs = [msgspec.convert({"name": n, "value": v}, GuessedArgument) for n, v in attempt.arguments.items()]
        except (AttributeError, msgspec.ValidationError):  # it is no call, or no answer to the schema
            continue
        yield NextStep([], [GuessedCall(attempt.key, pairs, 0.9)])


def let_in(world, attacker, table):
    """Return the keys of what is let in, and how many attempts there were."""
    confined = Confined(world.root)
    files = attacker.providers["file"]
    providers = SimpleNamespace(
        confined=confined, files=files, tools=attacker.tools, file_key=lambda path: f"file:{confined.check(path)}"
    )
    answers = list(guesses(world))
    found = [one for answer in answers for one in admitted(answer, table, providers)]
    return dict.fromkeys(one.key for one in found if isinstance(one, Admitted)), len(answers)


def test_no_hostile_advice_is_prepared_to_any_harm(tmp_path):
    world = World(tmp_path)
    attacker = Attacker(world)
    keys, count = let_in(world, attacker, PathTable(listing_of(world.root).files()))

    async def prepare():
        settings = Settings(load_attempts=1, load_timeout_s=20.0, quarantine_after=1_000, pressure=False)
        async with PreloadManager(attacker.providers, settings=settings) as manager:
            for key in keys:
                try:
                    value = await manager.get(key)
                except PreloaderError:
                    continue
                yield key, value.data if isinstance(value, SourceFile) else msgspec.json.encode(value.value)

    async def main():
        return [key async for key, served in prepare() if CANARY.encode() in served or world.marker.exists()]

    assert asyncio.run(main()) == []
    assert count >= 1_000
    assert len(keys) < count / 4


def test_whoever_could_write_into_the_index_would_still_be_refused_what_is_secret(tmp_path):
    world = World(tmp_path)
    table = PathTable(text for _, text in paths(world) if text.isprintable() and text.strip("/"))
    keys, _ = let_in(world, Attacker(world), table)
    names = [key.partition(":")[2].partition(" ")[0] for key in keys if key.startswith("file:")]
    assert not [name for name in names if name.startswith(("/", "../", "~")) or ".env" in name or "id_rsa" in name]
