"""What every test runs with: the machine's load and memory are none of its business."""

import os

import pytest

from preloader import relief


@pytest.fixture(autouse=True)
def an_idle_machine(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    monkeypatch.setattr(relief, "available_sources", list)
