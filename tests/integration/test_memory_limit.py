"""Real memory pressure: a manager in a memory-limited cgroup gives way before the kernel kills it."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from preloader.scheduling.pressure_sources import memory_cgroup

CHILD = Path(__file__).with_name("pressure_child.py")
LIMIT_BYTES = 256_000_000


class Cell:
    """A cgroup with a memory limit of its own, beneath the one that this process is in."""

    def __init__(self, place, version):
        self.place = place
        self.version = version

    def close(self):
        self.place.rmdir()

    def limit(self, bytes_):
        """Set the limit, and forbid swapping where the kernel can swap, so that memory is what runs short."""
        if self.version == 1:
            (self.place / "memory.limit_in_bytes").write_text(str(bytes_))
            (self.place / "memory.swappiness").write_text("0")
        else:
            (self.place / "memory.max").write_text(str(bytes_))
            if (swap := self.place / "memory.swap.max").exists():
                swap.write_text("0")

    def kills(self):
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        lines = dict(line.split() for line in (self.place / name).read_text().splitlines())
        return int(lines["oom_kill"])


@pytest.fixture
def cell():
    found = memory_cgroup()
    if found is None:
        pytest.skip("this system has no memory cgroup that can be read")
    above, version = found
    made = Cell(above / f"preloader-test-{uuid.uuid4().hex[:8]}", version)
    try:
        made.place.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made below {above}: {error}")
    try:
        try:
            made.limit(LIMIT_BYTES)
        except OSError as error:
            pytest.skip(f"no memory limit can be set in {made.place}: {error}")
        yield made
    finally:
        made.close()


def test_a_manager_sheds_before_the_kernel_kills(cell):
    entered = f"echo $$ > {cell.place}/cgroup.procs && exec {sys.executable} {CHILD} {LIMIT_BYTES}"
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        ["/bin/sh", "-c", entered],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    if "cgroup.procs" in ran.stderr:
        pytest.skip(f"no process can be moved into {cell.place}: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    assert cell.kills() == 0
    told = json.loads(ran.stdout)
    assert told["preloaded"] > 5
    assert f"cgroup v{cell.version}" in told["readings"]
    assert "CRITICAL" in told["levels"] or "EMERGENCY" in told["levels"]
    assert told["ledger"] == {"used": 0, "wasted": told["preloaded"], "failed": 0, "dropped": 0}
    assert told["live"] == 0
    assert told["budgets"][0] <= told["budgets"][1] // 2
