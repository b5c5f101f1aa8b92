"""Retraining: promotes what is better on the newest sessions, keeps what is not, and survives being killed."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from preloader.cli import build
from preloader.errors import BundleError, BusyError, ConfigurationError, HistoryError
from preloader.events import Context
from preloader.history import Session, group_sessions
from preloader.history.log import EventLog
from preloader.learning.fit import fit
from preloader.learning.joblock import job_lock
from preloader.learning.parts import Parts
from preloader.learning.promotion import previous_of, roll_back
from preloader.learning.recipe import DataRecipe, Recipe, ValidationRecipe, read_recipe
from preloader.learning.retrain import RetrainSettings, journal_of, retrain
from preloader.learning.retrain_report import report
from preloader.prediction import OnlinePredictor, load_bundle, save_bundle
from preloader.testing import random_events

RECIPE = Recipe(
    name="test",
    model="online",
    data=DataRecipe(format="jsonl", kinds=("component",), min_sessions=4, min_items=20),
    validation=ValidationRecipe(share=0.2, bootstraps=5),
)
SETTINGS = RetrainSettings(newest=0.25, min_sessions=3, learn="frozen", bootstraps=200)
RECIPE_TOML = """\
name = "test"
model = "online"
[data]
format = "jsonl"
kinds = ["component"]
min_sessions = 4
min_items = 20
[validation]
bootstraps = 5
"""


def sessions_of(count: int) -> list[Session]:
    """One user's sessions; the first of them are the same however many there are."""
    return group_sessions(random_events(seed=11, users=1, sessions=count, length=30))


def of_three_users(sessions: int = 16) -> list[Session]:
    """Users with habits of their own, which counting for all in common does not tell apart."""
    return group_sessions(random_events(seed=5, users=3, sessions=sessions, length=30))


def serve(path: Path, sessions: list[Session]) -> bytes:
    """Put a bundle that learned some sessions into service, and return its manifest."""
    fitted = fit(Parts(sessions[:-1], sessions[-1:], sessions), RECIPE)
    save_bundle(path, fitted.predictor.snapshot(), fitted_on=fitted.fitted_on)
    return (path / "manifest.json").read_bytes()


def journal(service: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in journal_of(service).read_text().splitlines()]


def test_a_better_candidate_is_promoted_and_the_old_bundle_kept(tmp_path):
    service = tmp_path / "service"
    old = serve(service, sessions_of(2))
    entry = retrain(sessions_of(40), RECIPE, service, SETTINGS, now_s=1.0, command="preloader retrain …")
    assert entry.verdict == "promoted"
    assert (entry.learned, entry.newest, entry.against) == (30, 10, "in service")
    assert entry.compared[0].log_loss[0] < entry.compared[0].log_loss[1]
    assert (previous_of(service) / "manifest.json").read_bytes() == old
    manifest = load_bundle(service).manifest
    assert manifest.fitted_on is not None
    assert len(manifest.fitted_on.sessions) == 40  # the newest ones are learned once they have judged
    assert manifest.command == "preloader retrain …"
    assert [line["verdict"] for line in journal(service)] == ["promoted"]
    assert "promoted" in report(entry)
    assert "learned the newest ones since" in report(entry)
    assert "The 10 newest sessions" in (service / "CARD.md").read_text()
    fresh = fit(Parts(sessions_of(40)[:-1], sessions_of(40)[-1:], sessions_of(40)), RECIPE).predictor
    context = Context("user0", "new")
    assert load_bundle(service).predictor().predict(context) == fresh.predict(context)
    assert not (tmp_path / ".service.retraining").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"newest": 0.02}, "only 1 new session with 27 items"),
        (
            {"min_sessions": 20},
            "only 10 new sessions with 256 items of the kind 'component', and a verdict ",
        ),
        ({"min_items": 301}, "takes 3 sessions with 301 items"),
    ],
)
def test_on_few_sessions_or_items_nothing_is_promoted(tmp_path, options, said):
    service = tmp_path / "service"
    old = serve(service, sessions_of(2))
    entry = retrain(sessions_of(40), RECIPE, service, msgspec.structs.replace(SETTINGS, **options), now_s=1.0)
    assert entry.verdict == "kept"
    assert said in entry.reason
    assert entry.reason in report(entry).replace("The test", "the test")
    assert journal(service)[0]["reason"] == entry.reason
    assert (service / "manifest.json").read_bytes() == old


def test_without_more_said_a_verdict_takes_20_sessions_and_100_items():
    assert (RetrainSettings().min_sessions, RetrainSettings().min_items) == (20, 100)


def test_what_is_promoted_says_as_much_of_itself_as_what_is_trained(tmp_path):
    service = tmp_path / "service"
    retrain(of_three_users(), RECIPE, service, SETTINGS, now_s=1.0, command="preloader retrain …")
    facts = load_bundle(service).manifest.facts
    assert {row["predictor"] for row in facts.metrics["component"]} == {"online", "order2"}
    assert facts.sources[0].name == "jsonl"
    assert "preloader retrain …" in (service / "CARD.md").read_text()


def test_a_recipe_that_drops_repeats_does_not_learn_them_here_either(tmp_path):
    sessions = [msgspec.structs.replace(one, events=one.events[:1] * 3 + one.events[1:]) for one in of_three_users()]
    learned = {}
    for repeats in ("kept", "dropped"):
        recipe = msgspec.structs.replace(RECIPE, data=msgspec.structs.replace(RECIPE.data, repeats=repeats))
        retrain(sessions, recipe, tmp_path / repeats, SETTINGS, now_s=1.0)
        learned[repeats] = load_bundle(tmp_path / repeats).snapshot.meta["models"][0]["learned"]
    assert learned["dropped"] < learned["kept"]


def test_a_promotion_is_rolled_back_and_forth(tmp_path):
    service = tmp_path / "service"
    old = serve(service, sessions_of(2))
    retrain(sessions_of(40), RECIPE, service, SETTINGS, now_s=1.0)
    new = (service / "manifest.json").read_bytes()
    roll_back(service)
    assert (service / "manifest.json").read_bytes() == old
    roll_back(service)
    assert (service / "manifest.json").read_bytes() == new
    with pytest.raises(BundleError, match="nothing to go back to"):
        roll_back(tmp_path / "other")


def test_a_worse_candidate_is_not_promoted(tmp_path):
    service = tmp_path / "service"
    every = sessions_of(60)
    before = serve(service, every[:50])
    entry = retrain(every[50:], RECIPE, service, SETTINGS, now_s=1.0)
    assert entry.verdict == "kept"
    assert (service / "manifest.json").read_bytes() == before
    assert not previous_of(service).exists()
    assert [line["verdict"] for line in journal(service)] == ["kept"]


def test_the_first_bundle_must_beat_counting(tmp_path):
    entry = retrain(of_three_users(), RECIPE, tmp_path / "deep" / "service", SETTINGS, now_s=1.0)
    assert (entry.against, entry.verdict) == ("order2", "promoted")
    assert load_bundle(tmp_path / "deep" / "service").manifest.predictor == OnlinePredictor.name
    entry = retrain(sessions_of(40), RECIPE, tmp_path / "service", SETTINGS, now_s=1.0)  # one habit: two items say all
    assert (entry.against, entry.verdict) == ("order2", "kept")
    assert not (tmp_path / "service").exists()


def test_a_bundle_that_knows_the_newest_sessions_is_refused(tmp_path):
    service = tmp_path / "service"
    every = sessions_of(40)
    serve(service, every[20:])
    with pytest.raises(ConfigurationError, match="learned from 10 of the 10 newest sessions"):
        retrain(every, RECIPE, service, SETTINGS, now_s=1.0)
    save_bundle(service, load_bundle(service).snapshot)
    with pytest.raises(ConfigurationError, match="does not say what it learned from"):
        retrain(every, RECIPE, service, SETTINGS, now_s=1.0)


def test_of_the_newest_sessions_those_are_tested_on_that_the_bundle_has_not_learned(tmp_path):
    service = tmp_path / "service"
    every = sessions_of(40)
    serve(service, [*every[:2], *every[33:]])
    entry = retrain(every, RECIPE, service, SETTINGS, now_s=1.0)
    assert (entry.learned, entry.newest) == (37, 3)


def test_a_night_after_a_promotion_finds_nothing_new_until_a_share_of_it_is(tmp_path):
    service = tmp_path / "service"
    serve(service, sessions_of(2))
    verdicts = [retrain(sessions_of(count), RECIPE, service, SETTINGS, now_s=1.0).verdict for count in (40, 40, 45)]
    assert verdicts == ["promoted", "nothing new", "nothing new"]
    assert retrain(sessions_of(60), RECIPE, service, SETTINGS, now_s=1.0).verdict != "nothing new"


def test_nothing_is_trained_where_nothing_is_new(tmp_path):
    service = tmp_path / "service"
    before = serve(service, sessions_of(40)[:30])
    entry = retrain(sessions_of(40), RECIPE, service, SETTINGS, now_s=1.0)
    assert entry.verdict == "nothing new"
    assert (service / "manifest.json").read_bytes() == before


def test_too_little_history_and_other_kinds_are_refused(tmp_path):
    with pytest.raises(HistoryError, match="leaves 2 sessions"):
        retrain(sessions_of(3), RECIPE, tmp_path / "service", SETTINGS, now_s=1.0)
    serve(tmp_path / "service", sessions_of(4))
    tools = msgspec.structs.replace(RECIPE, data=msgspec.structs.replace(RECIPE.data, kinds=("tool",)))
    with pytest.raises(HistoryError, match="0 items of the kind 'tool'"):
        retrain(sessions_of(40), tools, tmp_path / "service", SETTINGS, now_s=1.0)


def test_a_bundle_without_a_vocabulary_counts_what_the_candidate_has_learned_before_it_is_compared(tmp_path):
    """Untaught, it would be a predictor that has seen nothing beside one that has seen everything."""
    service = tmp_path / "service"
    fitted_on = fit(Parts(sessions_of(3)[:2], sessions_of(3)[2:], sessions_of(3)), RECIPE).fitted_on
    elsewhere = msgspec.structs.replace(fitted_on, sessions=[], events=0)
    save_bundle(service, OnlinePredictor().snapshot(), fitted_on=elsewhere)
    entry = retrain(sessions_of(40), RECIPE, service, SETTINGS, now_s=1.0)
    assert entry.verdict == "kept"
    assert entry.compared[0].log_loss[0] == entry.compared[0].log_loss[1]  # the same predictor, and as much learned


def test_a_recipe_without_a_history_of_its_own_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "history.jsonl").write_text("")
    (tmp_path / "recipe.toml").write_text('name = "a"\nmodel = "anonymous"\n')
    words = ["--history", str(tmp_path / "history.jsonl"), "--recipe", str(tmp_path / "recipe.toml")]
    done = CliRunner().invoke(build(), ["retrain", "--bundle", str(tmp_path / "service"), *words])
    assert isinstance(done.exception, ConfigurationError)
    assert "cannot be retrained" in str(done.exception)
    assert "'online' or 'sequence'" in str(done.exception)
    (tmp_path / "recipe.toml").write_text(RECIPE_TOML)
    with pytest.raises(ConfigurationError, match="--set 'model=other': model must be 'online' or 'sequence', not 'ot"):
        read_recipe(tmp_path / "recipe.toml", ["model=other"])


def test_two_runs_exclude_each_other_and_a_dead_one_locks_nothing(tmp_path):
    lock = tmp_path / ".service.retrain.lock"
    with job_lock(lock), pytest.raises(BusyError, match=f"held by process {os.getpid()}"):
        retrain(sessions_of(40), RECIPE, tmp_path / "service", SETTINGS, now_s=1.0)
    holding = (
        "import os, signal, sys; from pathlib import Path; from preloader.learning.joblock import job_lock\n"
        "with job_lock(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", holding, str(lock)], check=False)
    assert done.returncode == -signal.SIGKILL
    with job_lock(lock):
        pass


def test_a_first_run_that_is_refused_leaves_nothing_behind(tmp_path):
    with pytest.raises(HistoryError):
        retrain(sessions_of(3), RECIPE, tmp_path / "deep" / "er" / "service", SETTINGS, now_s=1.0)
    assert not list(tmp_path.iterdir())
    serve(tmp_path / "service", sessions_of(4))
    with pytest.raises(HistoryError):
        retrain(sessions_of(3), RECIPE, tmp_path / "service", SETTINGS, now_s=1.0)
    assert {path.name for path in tmp_path.iterdir()} == {"service", ".service.retrain.lock"}


def test_a_lock_whose_file_was_removed_is_taken_at_the_file_that_is_there(tmp_path, monkeypatch):
    path, flock, locks = tmp_path / "lock", fcntl.flock, []

    def late(descriptor, how):
        if not locks:
            path.unlink()  # by its holder, between this process's open and its lock
        locks.append(descriptor)
        return flock(descriptor, how)

    monkeypatch.setattr("fcntl.flock", late)
    with job_lock(path):
        assert len(locks) == 2
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(BusyError), job_lock(path):
            pass


KILLED_AT_A_RENAME = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_retrain
from preloader.learning.retrain import retrain
rename, left = Path.rename, int(sys.argv[2])
def counted(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = counted
retrain(test_retrain.sessions_of(40), test_retrain.RECIPE, Path(sys.argv[1]), test_retrain.SETTINGS, now_s=1.0)
"""


@pytest.mark.parametrize("renames", range(5))
def test_a_run_killed_at_any_rename_leaves_a_whole_bundle_in_service(tmp_path, renames):
    """Candidate, and what it is having caught up, take their names; old aside; new in service; old one kept."""
    service = tmp_path / "service"
    old = serve(service, sessions_of(2))
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", KILLED_AT_A_RENAME, str(service), str(renames), here], check=False)
    assert done.returncode == -signal.SIGKILL
    load_bundle(service).predictor()
    is_new = service.exists() and (service / "manifest.json").read_bytes() != old
    assert is_new == (renames == 4)
    assert not journal_of(service).exists()
    entry = retrain(sessions_of(40), RECIPE, service, SETTINGS, now_s=2.0)
    assert entry.verdict == ("nothing new" if is_new else "promoted")
    assert (previous_of(service) / "manifest.json").read_bytes() == old
    hidden = {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}
    assert hidden == {".service.retrain.lock"}


def test_the_command_reads_the_event_log_and_tells_cron_what_it_did(tmp_path):
    log, recipe, service = tmp_path / "events.db", tmp_path / "recipe.toml", tmp_path / "service"
    recipe.write_text(RECIPE_TOML)
    with EventLog(log) as events:
        events.append(event for session in of_three_users(28) for event in session.events)
    words = ["retrain", "--bundle", str(service), "--history", str(log), "--recipe", str(recipe)]
    done = CliRunner().invoke(build(), [*words, "--bootstraps", "100", "--newest", "0.25", "--learn", "frozen"])
    assert done.exit_code == 0, done.output
    assert "promoted" in done.output
    assert load_bundle(service).manifest.fitted_on.format == "event-log"
    assert (tmp_path / "service.retrain.md").read_text().startswith("# Retraining of service: promoted")
    told = (tmp_path / "service.retrain.md").read_bytes()
    again = CliRunner().invoke(build(), [*words, "--newest", "0.25"])
    assert "nothing new" in again.output
    assert [line["verdict"] for line in journal(service)] == ["promoted", "nothing new"]
    assert (tmp_path / "service.retrain.md").read_bytes() == told  # of the latest verdict on a candidate
    with job_lock(tmp_path / ".service.retrain.lock"):
        busy = CliRunner().invoke(build(), words)
    assert busy.exit_code == 75
    assert "runs already" in busy.stderr
