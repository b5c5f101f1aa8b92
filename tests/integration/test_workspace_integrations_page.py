"""The programs of docs/workspace-integrations.md run as they stand, each in a workspace of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.served_agents import make_repository
from tests.unit.workspace_tree import write

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/workspace-integrations.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("package", "needs"), [("langchain", 1), ("agents", 2)])
def test_the_program_runs(tmp_path, package, needs):
    pytest.importorskip(package)
    (block,) = [block for block in BLOCKS if f"from {package} " in block or f"from {package}." in block]
    root = make_repository(tmp_path)
    write(root, {"README.md": "A shop.\nSee the total.\n"})
    command = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    counts = dict(re.findall(r"(\w+)=(\d+)", done.stdout))
    assert done.stdout.startswith("All is well. WorkspaceStatistics(")
    assert int(counts["hits"]) + int(counts["late_hits"]) + int(counts["misses"]) == needs
