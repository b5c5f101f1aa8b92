import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def voice_assistant():
    spec = importlib.util.spec_from_file_location("voice_assistant", EXAMPLES / "voice_assistant.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_voice_assistant_learns_its_mornings(voice_assistant, capsys):
    *days, totals = run_virtual(voice_assistant.main(InlineExecutor()))
    assert "(asr miss, calendar miss, tts miss)" in days[0]
    assert "(asr hit, calendar hit, tts hit)" in days[-1]
    assert totals.endswith("wasted 0")
    assert capsys.readouterr().out.splitlines() == [*days, totals]


def test_the_voice_assistant_runs_as_a_program():
    command = [sys.executable, "-W", "error", "-X", "dev", str(EXAMPLES / "voice_assistant.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("day 1: waited ")
