"""Where memory pressure is read from: cgroups, Linux's stall information, macOS's own level, psutil elsewhere."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from preloader.scheduling.pressure import Pressure, PressureSource, Reading
from preloader.telemetry import logger

_STALL = Path("/proc/pressure/memory")
_TRIGGER = b"some 200000 2000000"  # µs stalled in µs; unprivileged processes may have multiples of 2 s alone
_NO_LIMIT = 1 << 60  # cgroup v1 writes "none" as the largest number of pages

_MAC_LEVELS = {1: Pressure.LOW, 2: Pressure.HIGH, 4: Pressure.CRITICAL}


class CgroupV2:
    """Memory in use against `memory.max` and `memory.high`, of the process's own cgroup and of all above it.

    The page cache that nobody has used for long is not counted: the kernel gives it up first. See the kernel's
    ``Documentation/admin-guide/cgroup-v2.rst``.

    Args:
        places: The cgroups' directories.
    """

    name = "cgroup v2"
    is_blocking = True

    def __init__(self, places: list[Path]) -> None:
        self._places = places

    def read(self) -> Reading:
        """Return the largest used share; see `PressureSource`."""
        shares = [share for place in self._places if (share := self._share(place)) is not None]
        stalls = [_stalled(place / "memory.pressure") for place in self._places[:1]]
        return Reading(used=max(shares, default=None), stalled=max((s for s in stalls if s is not None), default=None))

    @staticmethod
    def _share(place: Path) -> float | None:
        limits = [_limit(place / name) for name in ("memory.max", "memory.high")]
        limit = min((limit for limit in limits if limit is not None), default=None)
        if limit is None:
            return None
        cold = _statistic(place / "memory.stat", "inactive_file")
        return max(0, int((place / "memory.current").read_text()) - cold) / max(1, limit)


class CgroupV1:
    """Memory in use against `memory.limit_in_bytes`, of the process's own cgroup and of all above it.

    The page cache that nobody has used for long is not counted. See the kernel's
    ``Documentation/admin-guide/cgroup-v1/memory.rst``.

    Args:
        places: The cgroups' directories.
    """

    name = "cgroup v1"
    is_blocking = True

    def __init__(self, places: list[Path]) -> None:
        self._places = places

    def read(self) -> Reading:
        """Return the largest used share; see `PressureSource`."""
        return Reading(used=max((share for place in self._places if (share := self._share(place))), default=None))

    @staticmethod
    def _share(place: Path) -> float | None:
        limit = _limit(place / "memory.limit_in_bytes")
        if limit is None:
            return None
        cold = _statistic(place / "memory.stat", "total_inactive_file")
        return max(0, int((place / "memory.usage_in_bytes").read_text()) - cold) / max(1, limit)


class StallInformation:
    """Share of the last 10 s in which some task of the machine waited for memory: Linux's PSI.

    Args:
        path: ``/proc/pressure/memory``.
    """

    name = "psi"
    is_blocking = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Reading:
        """Return the stalled share; see `PressureSource`."""
        return Reading(stalled=_stalled(self._path))


class MacPressure:
    """The level that macOS itself states, ``kern.memorystatus_vm_pressure_level``: 1 normal, 2 warning, 4 critical.

    Written after the system's headers (``sys/event.h``); it was not tried on a Mac.
    """

    name = "macos"
    is_blocking = True

    def __init__(self) -> None:
        self._sysctl = ctypes.CDLL(None, use_errno=True).sysctlbyname

    def read(self) -> Reading:
        """Return the level; see `PressureSource`."""
        value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
        name = b"kern.memorystatus_vm_pressure_level"
        if self._sysctl(name, ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)):
            raise OSError(ctypes.get_errno(), "sysctlbyname failed")
        return Reading(level=_MAC_LEVELS.get(value.value, Pressure.LOW))


class SystemMemory:
    """Share of the machine's memory that is not available, by psutil."""

    name = "system"
    is_blocking = True

    def __init__(self) -> None:
        import psutil  # here, since it is imported only where pressure is watched

        self._memory = psutil.virtual_memory

    def read(self) -> Reading:
        """Return the used share; see `PressureSource`."""
        memory = self._memory()
        return Reading(used=1.0 - memory.available / memory.total)


def machine_sources(root: Path = Path("/")) -> list[PressureSource]:
    """Return what may tell about this machine's memory, whether it can be read or not; looks at small files.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    sources: list[PressureSource] = []
    if sys.platform == "darwin":
        sources.append(MacPressure())
    else:
        sources.append(SystemMemory())
        if (stall := root / _STALL.relative_to("/")).exists():
            sources.append(StallInformation(stall))
        if places := _cgroups(root, 2):
            sources.append(CgroupV2(places))
        if places := _cgroups(root, 1):
            sources.append(CgroupV1(places))
    return sources


def memory_cgroup(root: Path = Path("/")) -> tuple[Path, int] | None:
    """Return the directory of the cgroup that accounts for this process's memory, and the version of its kind."""
    return next(((places[0], version) for version in (2, 1) if (places := _cgroups(root, version))), None)


@contextmanager
def stall_trigger(loop: asyncio.AbstractEventLoop, call: Callable[[], None], path: Path = _STALL) -> Iterator[bool]:
    """Have the kernel call as soon as tasks stall for memory, one tenth of two seconds; yield whether it will.

    Where it will not (no PSI, no right to, another loop than the selector's), reading at intervals must do. The
    descriptor reports with POLLPRI, which event loops do not watch; an epoll around it becomes readable, which they do.
    See the kernel's ``Documentation/accounting/psi.rst``.
    """
    stall = watch = None
    try:
        stall = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        os.write(stall, _TRIGGER + b"\0")
        watch = select.epoll()
        watch.register(stall, select.EPOLLPRI)
        loop.add_reader(watch.fileno(), _answer, watch, call)
    except (OSError, AttributeError, NotImplementedError) as error:
        logger.debug("the kernel cannot call when memory stalls, so it is asked now and then: %r", error)
        is_set = False
    else:
        is_set = True
    try:
        yield is_set
    finally:
        if is_set and watch is not None:
            loop.remove_reader(watch.fileno())
        if watch is not None:
            watch.close()
        if stall is not None:
            os.close(stall)


def _answer(watch: select.epoll, call: Callable[[], None]) -> None:
    watch.poll(0)  # takes the event away
    call()


def _cgroups(root: Path, version: int) -> list[Path]:
    """Return the directories of the process's memory cgroup and of those above it; none of a version not in use."""
    controller, marker = ("memory", "memory.usage_in_bytes") if version == 1 else ("", "memory.current")
    try:
        own = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    fields = [line.split(":", 2) for line in own if line.count(":") > 1]
    paths = [path for _, names, path in fields if controller in names.split(",")]
    mounted = next((mount for line in mounts if (mount := _mounted(line, controller))), None)
    if not paths or mounted is None:
        return []
    top, prefix = mounted
    inside = Path(paths[0]).relative_to(prefix) if Path(paths[0]).is_relative_to(prefix) else Path()
    place = root / top.lstrip("/")
    if not (place / inside).is_dir():  # the path is the host's, and here a namespace begins elsewhere
        inside = Path()
    return [one for one in (place / part for part in (inside, *inside.parents)) if (one / marker).exists()]


def _mounted(line: str, controller: str) -> tuple[str, str] | None:
    """Return mount point and root of a line of ``mountinfo`` where it is the hierarchy that is looked for."""
    before, _, after = line.partition(" - ")
    place, described = before.split(), after.split()
    if len(place) < 5 or len(described) < 3:
        return None
    kind, options = described[0], described[-1].split(",")
    wanted = kind == "cgroup" and controller in options if controller else kind == "cgroup2"
    return (_unescaped(place[4]), _unescaped(place[3])) if wanted else None


def _unescaped(path: str) -> str:
    """Return a path of ``mountinfo``, which writes blanks and the like as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _limit(path: Path) -> int | None:
    """Return a limit in bytes; ``None`` where there is none, or no such file: a root cgroup has none."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    return None if text == "max" or int(text) >= _NO_LIMIT else int(text)


def _statistic(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _stalled(path: Path) -> float | None:
    """Return ``some avg10`` of a PSI file, as a share; ``None`` where the kernel keeps none."""
    try:
        line = path.read_text().splitlines()[0]
    except (OSError, IndexError):
        return None
    fields = dict(field.split("=", 1) for field in line.split()[1:])
    return float(fields["avg10"]) / 100.0 if "avg10" in fields else None
