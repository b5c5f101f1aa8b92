"""Registries over real sockets, pipes and processes, for the tests of loaders."""

import asyncio
import os
import threading

import psutil

from preloader.components.registry import ComponentRegistry
from preloader.manager import PreloadManager
from preloader.settings import Settings


def until(holds):
    for _ in range(2_000):
        if holds():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came true")


def from_toml(folder, *lines):
    path = folder / "components.toml"
    path.write_text("[components.x]\n" + "\n".join(lines))
    return ComponentRegistry.from_toml(path)


def play(registry, body):
    async def main():
        settings = Settings(load_attempts=1)
        async with PreloadManager({"component": registry.provider()}, settings=settings) as manager:
            return await body(manager)

    return asyncio.run(main())


def children():
    return [one.pid for one in psutil.Process(os.getpid()).children() if one.status() != psutil.STATUS_ZOMBIE]
