"""What every benchmark shares: the machine's name, paired rounds, percentiles, and one way to print the result."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import psutil

ROUNDS = 7


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured figure.

    Attributes:
        what: What was measured.
        measured: The figure.
        unit: Its unit.
        hold: The most that it may be, in the same unit; ``None`` where it is there to compare with.
        least: The least that it may be, likewise.
        note: Against what, or how.
    """

    what: str
    measured: float
    unit: str
    hold: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure is within its limits."""
        above = self.least is None or self.measured >= self.least
        return above and (self.hold is None or self.measured <= self.hold)


def machine() -> str:
    """Name the machine: processor, cores, system, Python."""
    cores = psutil.cpu_count(logical=True)
    system = f"{platform.system()} {platform.machine()}"
    return f"{_processor()}, {cores} cores, {system}, Python {platform.python_version()}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def interleaved(sides: dict[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Measure several things in turn, A B A B, so that whatever slows the machine down slows all of them.

    Returns:
        Each side's figures, one a round.
    """
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            measured[name].append(measure())
    return measured


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median over rounds of ours ÷ theirs, each measured in the same round."""
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))


def report(name: str, figures: Callable[[], Iterable[Figure]]) -> None:
    """Measure and print: a table, or with ``--json`` one document."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    as_json = parser.parse_args().json
    measured = list(figures())
    if as_json:
        rows = [msgspec.to_builtins(figure) | {"holds": figure.holds} for figure in measured]
        json.dump({"benchmark": name, "machine": machine(), "figures": rows}, sys.stdout, indent=2)
        print()
    else:
        print(f"{name} on {machine()}")
        for figure in measured:
            print(_line(figure))


def _line(figure: Figure) -> str:
    limits = [(figure.hold, "<"), (figure.least, ">")]
    hold = "".join(
        f"{sign} {limit:g} {'holds' if figure.holds else 'MISSED'}" for limit, sign in limits if limit is not None
    )
    return f"  {figure.what:<52} {figure.measured:>10.4g} {figure.unit:<5} {hold:<16} {figure.note}".rstrip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
