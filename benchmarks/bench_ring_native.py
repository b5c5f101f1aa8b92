"""The lock-free ring beside other queues in C and C++: ``python -m benchmarks.bench_ring_native [--json]``.

Builds ``benchmarks/native/ring_bench.cpp`` with the peers that are installed, and runs it: 16-byte records, capacity
1,024, every queue in one process and in turn (A B A B). Work on one thread is measured in its processor time, work
between threads, each pinned to a core, in wall time. A ratio is the peer's time ÷ the ring's of the same round, the
median over rounds: above 1, the ring is faster. ``nice -n -5`` helps where the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import ROUNDS, machine, ratio

NATIVE = Path(__file__).parents[1] / "native"
PROGRAMS = Path(__file__).parent / "native"

PEERS = {
    "dpdk": "libdpdk-dev",
    "moodycamel": "libconcurrentqueue-dev",
    "moodycamel tokens": "libconcurrentqueue-dev",
    "atomic_queue": "libatomic-queue-dev",
    "boost": "libboost-dev",
}
"""The peers, and the Debian package of each."""

HOLDS = {
    ("one thread", "dpdk"): 1.2,
    ("one thread", "moodycamel"): 1.5,
    ("1P1C", "dpdk"): 1.5,
    ("1P1C", "moodycamel"): 0.9,
    ("1P1C, batches of 16", "dpdk"): 0.85,
}
"""The ratio that a row must reach; elsewhere 1.0 is aimed at."""

AIM = 1.0
FLOOR = "two exchanges"

Measured = dict[str, dict[str, list[float]]]
"""For each row and queue, its nanoseconds a record, one a round."""


def build(folder: Path) -> Path:
    """Compile the benchmark with the peers that are there, everything inlined across both languages.

    Raises:
        SystemExit: There is no compiler.
    """
    compilers = shutil.which("cc"), shutil.which("c++")
    if None in compilers:
        raise SystemExit("bench_ring_native needs a C and a C++ compiler: apt-get install gcc g++")
    cc, cxx = map(str, compilers)
    dpdk = _dpdk_flags()
    tuned = ["-O3", "-flto", *(flag for flag in dpdk if flag.startswith("-march")), f"-I{NATIVE}"]
    ring, program = folder / "ring.o", folder / "ring_bench"
    subprocess.run([cc, "-std=c11", *tuned, "-c", NATIVE / "ring.c", "-o", ring], check=True)
    libraries = ["-pthread", *(["-lrte_ring", "-lrte_eal"] if dpdk else [])]
    source = PROGRAMS / "ring_bench.cpp"
    command: list[str | Path] = [cxx, "-std=c++17", *tuned, *dpdk, source, ring, "-o", program, *libraries]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        raise SystemExit(f"the benchmark cannot be built:\n{built.stderr}")
    return program


def _dpdk_flags() -> list[str]:
    if shutil.which("pkg-config") is None:
        return []
    found = subprocess.run(["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True)
    return found.stdout.split() if found.returncode == 0 else []


def measure(rounds: int, row: str | None) -> Measured:
    """Build, run, and return what was measured."""
    with TemporaryDirectory() as folder:
        command = [str(build(Path(folder))), str(rounds), *([row] if row else [])]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    measured: Measured = {}
    for line in lines:
        name, queue, nanoseconds = line.split("\t")
        measured.setdefault(name, {}).setdefault(queue, []).append(float(nanoseconds))
    return measured


def figures(measured: Measured) -> Iterable[dict[str, object]]:
    """Yield one figure for each row and peer, with the ring's own time beside it."""
    for row, queues in measured.items():
        ours = queues["ours"]
        for queue, theirs in queues.items():
            if queue == "ours":
                continue
            hold = HOLDS.get((row, queue))
            least = AIM if hold is None else hold
            times = ratio(theirs, ours)
            yield {
                "row": row,
                "peer": queue,
                "ours_ns": statistics.median(ours),
                "peer_ns": statistics.median(theirs),
                "ratio": times,
                "hold": hold,
                "holds": queue == FLOOR or times >= least,
            }


def missing(measured: Measured) -> str:
    """Say which peers were not there, and how to get them; empty where all were."""
    seen = {queue for queues in measured.values() for queue in queues}
    packages = sorted({package for peer, package in PEERS.items() if peer not in seen})
    absent = ", ".join(peer for peer in PEERS if peer not in seen)
    return f"Not measured: {absent}. On Debian, apt-get install {' '.join(packages)}." if packages else ""


def print_table(measured: Measured) -> None:
    """Print a line for each row and peer."""
    print(f"bench_ring_native on {machine()}; ns a record put and taken, and peer ÷ ring (> 1: the ring is faster)")
    for figure in figures(measured):
        hold = figure["hold"]
        verdict = "" if hold is None else f"≥ {hold:g} {'holds' if figure['holds'] else 'MISSED'}"
        behind = "behind" if hold is None and not figure["holds"] else ""
        times = "  floor" if figure["peer"] == FLOOR else f"{figure['ratio']:6.2f} x"
        print(
            f"  {figure['row']:<32} ring {figure['ours_ns']:8.2f}  {figure['peer']:<18} {figure['peer_ns']:8.2f}"
            f" {times}  {verdict}{behind}".rstrip()
        )


def main() -> None:
    """Measure and print: a table, or with ``--json`` one document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_ring_native", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"at least {ROUNDS} for a figure to publish")
    parser.add_argument("--row", help="measure one row only, such as 1P1C")
    asked = parser.parse_args()
    measured = measure(asked.rounds, asked.row)
    if not measured:
        raise SystemExit(f"there is no row {asked.row!r}; without --row all of them are measured")
    if asked.json:
        document = {"benchmark": "bench_ring_native", "machine": machine(), "figures": list(figures(measured))}
        json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print_table(measured)
    if not asked.row and (absent := missing(measured)):  # one row need not have every peer
        print(absent, file=sys.stderr)


if __name__ == "__main__":
    main()
