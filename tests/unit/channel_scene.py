"""A manager with a channel of hints, and what tests look at of it."""

import asyncio
import contextlib
import mmap
import os

from preloader import PreloadManager, Settings
from preloader.ports import Cost
from preloader.ring import Ring
from preloader.ring import channel as layout
from preloader.testing import FakeProvider

KEYS = ["component:stt", "component:tts", "component:größe"]


def fake():
    return FakeProvider({key: Cost(0.0, 1_000) for key in KEYS})


@contextlib.asynccontextmanager
async def opened(keys=KEYS, **options):
    making = PreloadManager({"component": fake()}, settings=Settings(waste_budget=None))
    async with making as manager, manager.hint_channel(keys, **options) as channel:
        yield manager, channel


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def resident(manager):
    return manager.statistics().residents


def counts(manager):
    return manager.statistics().counts


def ring_of(channel):
    """Open the channel as one who respects nothing would."""
    with (channel.path / layout.MEMORY_NAME).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    header = layout.Header(*layout.HEADER.unpack_from(memory))
    part = memoryview(memory)[header.ring_offset : header.ring_offset + header.ring_bytes]
    wake_fd = layout.open_wake(channel.path)
    try:
        return memory, Ring.attach(part, wake_fd=wake_fd)
    finally:
        os.close(wake_fd)
