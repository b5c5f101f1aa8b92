"""Proofs by CBMC, a bounded model checker for C: see ``cbmc/*.c`` for what is proved."""

from __future__ import annotations

import shutil
from pathlib import Path

from .shell import BUILD, HERE, NATIVE, Finished, StepFailedError, StepSkippedError, run

PROOFS = ("hostile",)
_PRIVATE = BUILD / "cbmc" / "cbmc"
_BOUNDS = ("--unwind", "5", "--unwindset", "slots_for.0:26", "--unwinding-assertions", "--object-bits", "12")
_PROPERTIES = ("--no-standard-checks", "--bounds-check", "--pointer-check", "--signed-overflow-check")


def find_cbmc() -> str:
    """Return the installed CBMC, or the one that the packages script unpacked.

    Raises:
        StepSkippedError: There is none.
    """
    found = shutil.which("cbmc") or (str(_PRIVATE) if _PRIVATE.exists() else None)
    if not found:
        raise StepSkippedError("cbmc is not installed (scripts/install_verify_packages.sh)")
    return found


def prove(native: Path, proof: str, *, timeout_s: float = 600) -> Finished:
    """Prove one of `PROOFS` of the ``ring.c`` in ``native``; not ok where a property fails or time runs out."""
    source = f'-DRING_SOURCE="{native / "ring.c"}"'
    command: list[str | Path] = [
        find_cbmc(),
        HERE / "cbmc" / f"{proof}.c",
        source,
        f"-I{native}",
        *_BOUNDS,
        *_PROPERTIES,
    ]
    return run(command, timeout_s=timeout_s)


def cbmc() -> str:
    """Every proof, of the ring as it is."""
    said = []
    for proof in PROOFS:
        finished = prove(NATIVE, proof)
        counted = next((line for line in finished.output.splitlines() if line.startswith("** ")), "no result")
        if not finished.ok:
            raise StepFailedError(f"{proof}: {'out of time' if finished.timed_out else counted}", finished.output)
        said.append(f"{proof} {counted.removeprefix('** ')}")
    return "; ".join(said)
