"""The programs of docs/workspace-integrations.md run as they stand, each in a workspace of its own."""

import re
from pathlib import Path

import pytest

from tests.integration.served_agents import make_workspace
from tests.unit.workspace_tree import write

PAGE = Path(__file__).parents[2] / "docs/workspace-integrations.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize(("package", "needs"), [("langchain", 1), ("agents", 2)])
def test_the_program_runs(tmp_path, monkeypatch, capsys, package, needs):
    pytest.importorskip(package)
    (block,) = [block for block in BLOCKS if f"from {package} " in block or f"from {package}." in block]
    root = make_workspace(tmp_path)
    write(root, {"README.md": "A shop.\nSee the total.\n"})
    monkeypatch.chdir(root)
    exec(compile(block, PAGE.name, "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    counts = dict(re.findall(r"(\w+)=(\d+)", printed))
    assert printed.startswith("All is well. WorkspaceStatistics(")
    assert int(counts["hits"]) + int(counts["late_hits"]) + int(counts["misses"]) == needs
