"""Fitting a network: it learns what can be learned, the same each time, and goes on where it was stopped."""

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from preloader.errors import ConfigurationError  # noqa: E402
from preloader.events import Event  # noqa: E402
from preloader.history import Session  # noqa: E402
from preloader.learning.checkpoint import Checkpoint  # noqa: E402
from preloader.learning.examples import NOTHING, examples, users_of, vocabulary_of  # noqa: E402
from preloader.learning.lookahead import fit_network  # noqa: E402
from preloader.learning.network import SequenceNetwork  # noqa: E402
from preloader.learning.recipe import DataRecipe, Recipe  # noqa: E402
from preloader.learning.settings import NetworkSettings, TrainingSettings  # noqa: E402
from preloader.learning.trainer import Fit, Learner, batch_of  # noqa: E402
from preloader.prediction.features import Features, FeatureSettings  # noqa: E402

SEEN = FeatureSettings(rows=4, pieces=4, piece_bits=6, texts=1, words=2, word_bits=6)
SIZE = NetworkSettings(width=16, hidden=32, word_width=4, user_width=4, dropout=0.0, user_dropout=0.0)
STEPS = 2


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sessions():
    """Return sessions that count round: ann's upwards, ben's downwards."""
    return [
        Session(
            user,
            f"s{number}",
            tuple(
                Event(
                    user=user,
                    session=f"s{number}",
                    time_s=60.0 * at,
                    action="do",
                    resources=(f"tool:{(number + turn * at) % 5}",),
                )
                for at in range(12)
            ),
        )
        for user, turn in (("ann", 1), ("ben", -1))
        for number in range(10)
    ]


@pytest.fixture(scope="module")
def learned():
    told = sessions()
    features = Features("tool", vocabulary_of(told, "tool"), SEEN)
    users = {user: number for number, user in enumerate(users_of(told))}
    return examples(told, features, STEPS, users)


def fit_to(learned, **settings):
    chosen = TrainingSettings(**{"epochs": 12, "batch": 32, "rate": 0.02, "average": 0.9, **settings})
    torch.manual_seed(chosen.seed)
    return Fit(Learner(SequenceNetwork(5, STEPS, SEEN, SIZE), 2), learned, chosen)


def weights(fit):
    return {name: value.clone() for name, value in fit.finish().state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_pattern_that_can_be_learned_is(learned):
    fit = fit_to(learned, epochs=16)
    losses = [fit.run_epoch() for _ in range(fit.settings.epochs)]
    assert losses[-1] < losses[0] / 3
    begun = learned.arrays["flags"][:, -3].any(axis=1)  # from the third item on, it is plain how one counts
    later = np.flatnonzero(begun & (learned.labels[:, -1] != NOTHING))
    with torch.no_grad():
        told, _ = fit.finish()(batch_of(learned, later))
    right = (told.argmax(-1).numpy() == learned.labels[later]).mean(axis=0)
    assert (right > 0.9).all()


def test_two_runs_are_alike_and_two_seeds_are_not(learned):
    one, other, another = fit_to(learned), fit_to(learned), fit_to(learned, seed=1)
    assert [one.run_epoch(), one.run_epoch()] == [other.run_epoch(), other.run_epoch()]
    another.run_epoch()
    another.run_epoch()
    first = weights(one)
    assert equal(first, weights(other))
    assert not equal(first, weights(another))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(learned, tmp_path):
    whole, stopped = fit_to(learned, epochs=4), fit_to(learned, epochs=4)
    losses = [whole.run_epoch() for _ in range(4)]
    kept = Checkpoint(tmp_path / "run.safetensors", "this run")
    kept.save(stopped, [stopped.run_epoch(), stopped.run_epoch()])
    resumed = fit_to(learned, epochs=4, seed=0)
    torch.manual_seed(99)  # what else was drawn in the new process must not matter
    before = kept.load(resumed)
    assert [*before, resumed.run_epoch(), resumed.run_epoch()] == losses
    assert equal(weights(resumed), weights(whole))


def test_a_checkpoint_of_another_run_is_refused(learned, tmp_path):
    fit = fit_to(learned)
    Checkpoint(tmp_path / "run.safetensors", "one run").save(fit, [])
    with pytest.raises(ConfigurationError, match="another recipe, history or seed"):
        Checkpoint(tmp_path / "run.safetensors", "another").load(fit_to(learned))


SMALL = Recipe(
    "small",
    "sequence",
    DataRecipe("jsonl", ("tool",)),
    features=SEEN,
    network=SIZE,
    training=TrainingSettings(epochs=2),
)


def other_events(held):
    """Return sessions with the same names and as many events, one of which is another."""
    first = held[0]
    changed = msgspec.structs.replace(first.events[3], resources=("tool:4",))
    return [msgspec.structs.replace(first, events=(*first.events[:3], changed, *first.events[4:])), *held[1:]]


@pytest.mark.parametrize(
    ("sessions_of", "recipe"),
    [
        (other_events, SMALL),
        (lambda held: held[::-1], SMALL),
        (list, msgspec.structs.replace(SMALL, training=msgspec.structs.replace(SMALL.training, seed=1))),
        (list, msgspec.structs.replace(SMALL, network=msgspec.structs.replace(SIZE, dropout=0.1))),
    ],
)
def test_a_run_does_not_go_on_with_other_events_seeds_or_sizes(tmp_path, sessions_of, recipe):
    taken = []
    fit_network(sessions(), "tool", SMALL, checkpoint=tmp_path / "run", on_epoch=taken.append)
    begun = len(taken)
    fit_network(sessions(), "tool", SMALL, checkpoint=tmp_path / "run", on_epoch=taken.append)
    assert [label for label in taken[begun:] if label.startswith("epoch")] == []  # all of them were taken before
    with pytest.raises(ConfigurationError, match="another recipe, history or seed"):
        fit_network(sessions_of(sessions()), "tool", recipe, checkpoint=tmp_path / "run")


def test_examples_without_weight_teach_nothing_of_the_steps(learned):
    """Labels of examples that weigh nothing may be anything."""
    silent = np.arange(len(learned)) % 2 == 0
    kept = msgspec.structs.replace(learned, weights=np.where(silent, 0.0, learned.weights).astype(np.float32))
    wrong = msgspec.structs.replace(kept, labels=np.where(silent[:, None], 1, learned.labels))
    one, other = fit_to(kept, epochs=1), fit_to(wrong, epochs=1)
    one.run_epoch()
    other.run_epoch()
    theirs = weights(other)
    assert all(torch.allclose(value, theirs[name]) for name, value in weights(one).items())


def test_one_who_is_not_known_is_the_population(learned):
    fit = fit_to(learned)
    for _ in range(2):
        fit.run_epoch()
    assert not fit.finish().users.weight[2].any()
