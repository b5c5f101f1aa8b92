"""A workspace used while it is edited; the longer form is ``python -m benchmarks.workspace_soak``."""

import asyncio
import gc

import pytest

pytest.importorskip("watchfiles")

from benchmarks.workspace_soak import WorkspaceSoak, edits_of


@pytest.mark.parametrize("seed", range(3))
def test_nothing_stale_is_served_while_files_change(tmp_path, seed):
    gc.collect()  # what earlier tests left open is closed before it is counted
    soak = WorkspaceSoak(tmp_path, seed, elsewhere=seed == 0, models=seed == 0)
    asyncio.run(soak.run(edits=80))
    soak.close()
    assert not soak.asking.stale, "\n".join(soak.asking.stale[:10])
    assert not soak.faults, "\n".join(soak.faults)
    assert [scene.counts.total() for scene in soak.scenes] == [edits_of(scene, 80) for scene in soak.scenes]
    assert soak.edits.total() == 364
    needs = soak.workspace.manager_statistics().ledger.needs
    assert needs["hit"] > 0
    assert needs["miss"] > 0
