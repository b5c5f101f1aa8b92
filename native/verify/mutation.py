"""Breaks the ring in every way of the table, and shows which checks notice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from .c_tests import run_one
from .explorer_step import build_engine, explore
from .mutants import SOURCE, Mutant, read_table, unweakened_orders
from .shell import BUILD, NATIVE, ROOT, Finished, StepFailedError, StepSkippedError

FOLDER = BUILD / "mutation"
BEGIN, END = "<!-- mutants: written by make verify-native -->", "<!-- end of mutants -->"

Check = Callable[[Path, Path], Finished]
"""Runs one check on a copy of ``native``, with a folder for what it builds; not ok means the mutant was noticed.

A mutant that does not compile is a mistake in the table."""


def _unit(native: Path, build: Path) -> Finished:
    return run_one(native, build, "test_ring")


def _dead(native: Path, build: Path) -> Finished:
    return run_one(native, build, "test_dead", timeout_s=120)


def _explore(native: Path, build: Path) -> Finished:
    return explore(native / SOURCE.name, build, sorted((FOLDER / "engine").glob("*.o")), timeout_s=300)


def _stress(native: Path, build: Path) -> Finished:
    flags = ("-O1", "-fsanitize=thread")
    return run_one(native, build, "stress_ring", "2", flags=flags, timeout_s=120)


CHECKS: dict[str, Check] = {
    "unit tests": _unit,
    "explorer": _explore,
    "tests of dead producers": _dead,
    "stress under TSan": _stress,
}
"""In order of cost: a mutant goes on to the next until one notices."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one mutant.

    Attributes:
        mutant: Which.
        noticed_by: The first of the checks that noticed; empty where none did.
        said: What that check said last.
    """

    mutant: Mutant
    noticed_by: str
    said: str

    @property
    def as_expected(self) -> bool:
        """Whether a mutant that matters was noticed, and an equivalent one was not."""
        return bool(self.noticed_by) != bool(self.mutant.equivalent)


def _copy_native(folder: Path) -> Path:
    copy = folder / "native"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(NATIVE, copy, ignore=shutil.ignore_patterns("verify", "kernel", "build", "*.o"))
    return copy


def _fate_of(number: int, mutant: Mutant, source: str, checks: dict[str, Check]) -> Fate:
    folder = FOLDER / f"{number:02d}"
    native = _copy_native(folder)
    (native / SOURCE.name).write_text(mutant.apply(source))
    noticed_by = said = ""
    for name, check in checks.items():
        finished = check(native, folder / "build" / name.replace(" ", "-"))
        if not finished.ok:
            noticed_by, said = name, "it hangs" if finished.timed_out else _what_was_wrong(finished)
            break
    shutil.rmtree(folder)
    return Fate(mutant, noticed_by, said)


def _what_was_wrong(finished: Finished) -> str:
    """Return the line of a failed check that says most."""
    lines = [line.strip() for line in finished.output.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("explorer: ") or ": not so: " in line or "WARNING: " in line]
    if finished.code < 0:
        return f"killed by signal {-finished.code}"
    return (telling or lines or ["no word"])[-1 if not telling else 0]


def _usable_checks() -> tuple[dict[str, Check], list[str]]:
    """Return the checks that pass on the ring as it is, and why others cannot run here.

    Raises:
        StepFailedError: One of them does not pass.
    """
    usable, absent = {}, []
    native = _copy_native(FOLDER / "unchanged")
    build_engine(FOLDER / "engine")
    for name, check in CHECKS.items():
        try:
            finished = check(native, FOLDER / "unchanged" / "build" / name.replace(" ", "-"))
        except StepSkippedError as missing:
            absent.append(f"{name}: {missing}")
            continue
        if not finished.ok:
            raise StepFailedError(f"{name} fails on the ring as it is: {finished.last_line}", finished.output)
        usable[name] = check
    return usable, absent


def mutation() -> str:
    """Run the checks on every mutant, and write down which noticed which.

    Raises:
        StepFailedError: A mutant that matters was noticed by nothing, an equivalent one was noticed, or the table does
            not fit the source.
    """
    source, mutants = SOURCE.read_text(), read_table()
    for mutant in mutants:
        mutant.apply(source)
    bare = unweakened_orders(mutants, source)
    if bare:
        raise StepFailedError(f"no mutant weakens the order in: {'; '.join(bare)}")
    checks, absent = _usable_checks()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        fates = list(pool.map(_fate_of, range(len(mutants)), mutants, repeat(source), repeat(checks)))
    wrong = [fate for fate in fates if not fate.as_expected]
    if wrong:
        told = [f"{fate.mutant.name}: {fate.noticed_by or 'noticed by nothing'} {fate.said}" for fate in wrong]
        names = "; ".join(fate.mutant.name for fate in wrong)
        raise StepFailedError(
            f"{len(wrong)} of {len(fates)} mutants are not as the table says: {names}", "\n".join([*told, ""])
        )
    write_report(fates)
    equivalent = sum(bool(fate.mutant.equivalent) for fate in fates)
    without = f", without {'; '.join(absent)}" if absent else ""
    noticed = f"{len(fates) - equivalent} mutants noticed, {equivalent} equivalent ones not"
    return f"{noticed}, by {', '.join(checks)}{without}"


def write_report(fates: list[Fate], page: Path = ROOT / "docs" / "ring-verification.md") -> None:
    """Put the table of mutants between the marks in the page."""
    rows = ["| mutant | noticed by | what it said |", "|---|---|---|"]
    rows += [
        f"| {fate.mutant.name} | {fate.noticed_by} | {fate.said.replace('|', '/')} |"
        for fate in fates
        if not fate.mutant.equivalent
    ]
    rows += ["", "| equivalent mutant | why the contract holds |", "|---|---|"]
    rows += [f"| {fate.mutant.name} | {fate.mutant.equivalent} |" for fate in fates if fate.mutant.equivalent]
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n" + "\n".join(rows) + f"\n{END}{after}")
