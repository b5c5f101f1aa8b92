"""The table of mutants, and the rules that keep it true to the source."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from .shell import HERE, NATIVE, StepFailedError

TABLE = HERE / "mutants.toml"
SOURCE = NATIVE / "ring.c"
_ORDER = re.compile(r"(?<!memory_order_)\b(?:ACQUIRE|RELEASE|ACQ_REL)\b(?!\s*=)")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to break the ring.

    Attributes:
        name: What is broken, in words.
        find: Text that occurs in ``ring.c`` exactly once.
        replace: What stands there instead.
        equivalent: Why the contract holds all the same; empty where it does not.
    """

    name: str
    find: str
    replace: str
    equivalent: str = ""

    def apply(self, source: str) -> str:
        """Return the mutated source.

        Raises:
            StepFailedError: ``find`` does not occur exactly once.
        """
        found = source.count(self.find)
        if found != 1:
            raise StepFailedError(f"mutant {self.name!r} applies {found} times to {SOURCE.name}, not once")
        return source.replace(self.find, self.replace)


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    mutant: list[Mutant]


def read_table(path: Path = TABLE) -> list[Mutant]:
    """Read the mutants, in the table's order.

    Raises:
        StepFailedError: Two have the same name.
    """
    mutants = msgspec.toml.decode(path.read_bytes(), type=_Table).mutant
    names = [mutant.name for mutant in mutants]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise StepFailedError(f"{path.name} names these mutants twice: {', '.join(sorted(doubled))}")
    return mutants


def unweakened_orders(mutants: list[Mutant], source: str) -> list[str]:
    """Return the lines of ``source`` with a memory order stronger than relaxed that no mutant touches."""
    code = _COMMENT.sub(lambda match: " " * len(match.group()), source)
    spans = [(source.find(mutant.find), len(mutant.find)) for mutant in mutants]
    bare = [
        match.start()
        for match in _ORDER.finditer(code)
        if not any(start <= match.start() < start + length for start, length in spans)
    ]
    return [source[source.rfind("\n", 0, at) + 1 : source.find("\n", at)].strip() for at in bare]
