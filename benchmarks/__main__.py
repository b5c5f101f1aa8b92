"""Run every benchmark of this folder: ``python -m benchmarks [--json]``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run each benchmark in a process of its own, so that none warms anything up for another."""
    failed = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{path.stem}", *sys.argv[1:]]).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
