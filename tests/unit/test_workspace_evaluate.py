"""The workspace's measures, on simulated sessions whose next step can be told."""

import json
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from preloader.cli import build
from preloader.cli.workspace import evaluate
from preloader.errors import ConfigurationError, HistoryError
from preloader.history import ReadReport
from preloader.learning.boosting import fit_trees, fit_words
from preloader.workspace.evaluate import evaluate_workspace
from preloader.workspace.learn.fitting import Fitters
from preloader.workspace.learn.items import read_recordings, split
from preloader.workspace.learn.models import load_models, save_models


@pytest.fixture(autouse=True)
def one_thread():
    """So few rows are fitted faster by one thread than by many that wait for each other."""
    with threadpool_limits(1):
        yield


AREAS = ("billing", "search", "accounts", "mail", "reports", "export")


def session(number: int, generator: random.Random) -> dict[str, object]:
    """An agent that searches for a name, reads the first file found, edits it, and asks for the status."""
    items: list[dict[str, object]] = []
    second = number * 3_600.0

    def add(kind: str, **fields: object) -> None:
        nonlocal second
        second += 0.5
        at = f"2026-01-{1 + int(second // 86_400):02d}T{int(second // 3600) % 24:02d}:{int(second // 60) % 60:02d}"
        items.append({"at": f"{at}:{second % 60:06.3f}Z", "type": kind, **fields})

    def call(name: str, arguments: dict[str, object], output: str) -> None:
        identifier = f"c{len(items)}"
        add("tool_call", id=identifier, name=name, arguments=arguments)
        add("tool_result", id=identifier, is_error=False, characters=len(output), text=output)

    add("user_text", text="Please fix what is broken.")
    for _ in range(4):
        area = generator.choice(AREAS)
        files = [f"src/{area}/{name}.py" for name in generator.sample(("api", "model", "views", "tasks"), 3)]
        add("assistant_text", text=f"Let me search for the {area} handler.")
        call("Grep", {"pattern": f"{area}_handler", "path": "src"}, "\n".join(f"{one}:12:def x" for one in files))
        add("assistant_text", text="Let me read the file.")
        call("Read", {"file_path": files[0]}, f"1 from src.{area} import model")
        add("thinking", text="Now I update it.")
        call("Edit", {"file_path": files[0], "old_string": "<3>", "new_string": "<4>"}, "updated")
        call("Bash", {"command": "git status", "description": "look"}, f"modified: {files[0]}")
    return {"repository": f"made/up{number % 2}", "session": f"s{number}", "items": items}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty sessions of two repositories."""
    generator = random.Random(3)
    path = tmp_path_factory.mktemp("sessions") / "sessions.jsonl"
    path.write_text("".join(json.dumps(session(number, generator)) + "\n" for number in range(40)))
    return path


def test_each_repository_is_split_by_time_and_a_single_session_is_only_tested(sessions: Path) -> None:
    recordings = read_recordings(sessions, ReadReport())
    alone = msgspec.structs.replace(recordings[0], repository="one/session")
    cut = split([*reversed(recordings), alone])
    assert [len(part) for part in (cut.fit, cut.validation, cut.test)] == [24, 8, 9]
    assert alone in cut.test
    for name in ("made/up0", "made/up1"):
        latest = [max(one.items[0].time_s for one in part if one.repository == name) for part in (cut.fit, cut.test)]
        assert latest[0] < latest[1]


def test_what_can_be_told_is_told(sessions: Path, tmp_path: Path) -> None:
    cut = split(read_recordings(sessions, ReadReport()))
    report, learned = evaluate_workspace(cut, Fitters(fit_trees, fit_words), bootstraps=50)
    value = {row.measure: row.value for row in report.rows if row.repository == "all"}
    assert value["cold_reads_ready"] > 0.9
    assert value["reads_warm"] > 0.95
    assert value["next_tool_top1"] > 0.95
    assert value["exact_call_top3"] > 0.3
    assert value["time_saved"] > value["paste_time_saved"] >= 0
    assert {row.repository for row in report.rows} == {"all", "made/up0", "made/up1"}
    assert all(row.low <= row.value <= row.high for row in report.rows if row.value is not None)
    assert sum(one.files for one in report.reliability) > 20
    assert all(abs(one.stated - one.came) < 0.15 for one in report.reliability if one.files >= 10)

    path = tmp_path / "models.npz"
    save_models(learned.models, path)
    again = load_models(path)
    rows = np.random.default_rng(0).normal(size=(5, again.ranker.trees.features)).astype(np.float32)
    assert np.array_equal(again.ranker.trees.margins(rows), learned.models.ranker.trees.margins(rows))
    assert again.thresholds == learned.models.thresholds
    assert again.likelihood == learned.models.likelihood


def test_the_command_prints_the_rows(sessions: Path, tmp_path: Path) -> None:
    plot = tmp_path / "curve.png"
    result = CliRunner().invoke(
        build(), ["workspace", "evaluate", str(sessions), "--json", "--bootstraps", "20", "--plot", str(plot)]
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    wanted = {"cold_reads_ready", "reads_warm", "prepared_then_read", "next_tool_top1", "next_tool_top2"}
    wanted |= {"exact_call_top1", "exact_call_top3", "time_saved"}
    assert wanted <= {row["measure"] for row in rows}
    assert plot.stat().st_size > 1_000


def test_too_few_sessions_are_said_to_be_too_few(sessions: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(sessions.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(ConfigurationError, match="2 sessions are too few"):
        evaluate([few])
    few.write_text("")
    with pytest.raises(HistoryError, match="holds no session"):
        evaluate([few])
