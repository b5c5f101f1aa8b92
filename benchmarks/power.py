"""Energy on Apple silicon, as the system's ``powermetrics`` reports it to root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable

_SAMPLE_MS = 2_000
_COMBINED = re.compile(r"^Combined Power .*: (\d+) mW$", re.MULTILINE)


def unreadable() -> str:
    """Return why power cannot be read here, in words; nothing where it can."""
    if shutil.which("powermetrics") is None:
        return "there is no powermetrics on this system"
    return "" if os.geteuid() == 0 else "powermetrics needs root: run this with sudo"


def milliwatts(report: str) -> float:
    """Return the combined power of CPU, GPU and Neural Engine that a report of ``powermetrics`` states.

    Raises:
        ValueError: It states none.
    """
    found = _COMBINED.search(report)
    if found is None:
        raise ValueError("powermetrics stated no combined power of CPU, GPU and ANE")
    return float(found[1])


def millijoules_a_call(call: Callable[[], object], sample: Callable[[], subprocess.Popen[str]] | None = None) -> float:
    """Return the energy of one call beyond that of an idle machine: its power times the time that a call takes.

    Args:
        call: What is called without pause while the power is sampled.
        sample: Starts a sampler that ends with a report; ``powermetrics`` unless given.

    Raises:
        ValueError: The report states no power.
    """
    sample = sample or _powermetrics
    idle_mw = milliwatts(sample().communicate()[0])
    sampler, calls, began_s = sample(), 0, time.perf_counter()
    while sampler.poll() is None:
        call()
        calls += 1
    took_s = time.perf_counter() - began_s
    busy_mw = milliwatts(sampler.communicate()[0])
    return (busy_mw - idle_mw) * took_s / max(calls, 1)


def _powermetrics() -> subprocess.Popen[str]:
    command = ["powermetrics", "--samplers", "cpu_power,gpu_power,ane_power", "-i", str(_SAMPLE_MS), "-n", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
