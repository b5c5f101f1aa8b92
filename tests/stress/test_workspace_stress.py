"""A workspace read while it is edited; the longer form is ``python -m benchmarks.workspace_soak``."""

import asyncio

import pytest

from benchmarks.workspace_soak import WorkspaceSoak


@pytest.mark.parametrize("seed", range(3))
def test_nothing_stale_is_served_while_files_change(tmp_path, seed):
    soak = WorkspaceSoak(tmp_path, seed)
    asyncio.run(soak.run(edits=250))
    assert not soak.stale, "\n".join(soak.stale[:10])
    assert sum(sum(editor.counts.values()) for editor in soak.editors) == 500
    needs = soak.manager.statistics().ledger.needs
    assert needs["hit"] > 0
    assert needs["miss"] > 0
