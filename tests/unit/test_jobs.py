"""The example jobs: well-formed, and their commands are ones that the program takes."""

import plistlib
import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
import typer.main

from preloader.cli import build

JOBS = Path(__file__).parents[2] / "training" / "jobs"


def check_command(words: list[str]) -> None:
    """Parse the words after ``preloader`` as the program does, without running anything."""
    assert words[0] == "retrain"
    command = typer.main.get_command(build()).commands["retrain"]
    context = command.make_context("retrain", words[1:])
    assert all(context.params[name] for name in ("bundle", "history", "recipe"))


def after_preloader(line: str) -> list[str]:
    words = shlex.split(line)
    start = next(number for number, word in enumerate(words) if Path(word).name == "preloader")
    end = next((number for number, word in enumerate(words) if word in (">>", ">", "&&")), len(words))
    return words[start + 1 : end]


def test_launchd_runs_it_nightly_at_low_priority_on_mains_power():
    job = plistlib.loads((JOBS / "dev.preloader.retrain.plist").read_bytes())
    assert job["Label"] == "dev.preloader.retrain"
    assert job["ProcessType"] == "Background"
    assert job["LowPriorityIO"]
    assert set(job["StartCalendarInterval"]) == {"Hour", "Minute"}
    shell, flag, script = job["ProgramArguments"]
    assert (shell, flag) == ("/bin/sh", "-c")
    assert "AC Power" in script
    subprocess.run([shell, "-n", flag, script], check=True)
    check_command(after_preloader(script.partition("exec")[2]))


def systemd(name: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str
    parser.read_string((JOBS / name).read_text())
    return parser


def test_systemd_runs_it_nightly_at_low_priority_on_mains_power():
    service, timer = systemd("preloader-retrain.service"), systemd("preloader-retrain.timer")
    assert service["Unit"]["ConditionACPower"] == "true"
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["SuccessExitStatus"] == "75"
    assert timer["Timer"]["OnCalendar"] == "*-*-* 03:17:00"
    check_command(after_preloader(service["Service"]["ExecStart"]))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_finds_nothing_to_complain_of():
    timer = ["systemd-analyze", "verify", "--man=no", str(JOBS / "preloader-retrain.timer")]
    done = subprocess.run(timer, capture_output=True, text=True, check=False)
    assert "Unknown" not in done.stderr


def test_cron_runs_it_nightly():
    (line,) = [one for one in (JOBS / "crontab").read_text().splitlines() if one and not one.startswith("#")]
    assert re.match(r"17 3 \* \* \*\s", line)
    assert "%" not in line  # which cron takes for the end of the line
    check_command(after_preloader(line.split(maxsplit=5)[5]))
