"""What every test runs with: the machine's load, memory and compiler are none of its business."""

import os
import warnings

import pytest

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "the compiled ring is missing", RuntimeWarning)  # which warns but once
    from preloader import relief, ring

if ring.BACKEND == "python":
    os.environ["PRELOADER_RING"] = "python"  # nor do the programs that tests run


@pytest.fixture(autouse=True)
def an_idle_machine(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    monkeypatch.setattr(relief, "machine_sources", list)
