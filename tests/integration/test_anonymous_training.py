"""A model without a vocabulary really learns, from assistants whose keys it will never meet again."""

import numpy as np
import pytest
import torch

from preloader.events import Context, Event
from preloader.history import SplitRule, group_sessions
from preloader.learning.anonymous_examples import NOTHING, Assistant, anonymous_examples, chunks
from preloader.learning.anonymous_fit import batch_of, fit_anonymous, fit_examples
from preloader.learning.anonymous_network import INPUTS, AnonymousNetwork
from preloader.learning.anonymous_settings import AnonymousNetworkSettings, AnonymousTraining
from preloader.learning.invented import InventedAssistant
from preloader.learning.leave_out import Source, assistants_of, leave_out
from preloader.prediction.anonymous import AnonymousPredictor
from preloader.prediction.anonymous_features import AROUND, CANDIDATE_FEATURES, FLAGS, STEPS
from preloader.prediction.anonymous_memory import AnonymousSettings

SMALL = AnonymousSettings(candidates=12, recent=6)
NETWORK = AnonymousNetworkSettings(width=16, slot_width=8, hidden=16, dropout=0.0)
TRAINING = AnonymousTraining(features=SMALL, network=NETWORK, items=(60,), batches=100, batch=32, rate=1e-2)


class TorchRuntime:
    """Runs a network where it was trained."""

    name = "torch"
    inputs = INPUTS

    def __init__(self, network):
        self._network = network

    def run(self, inputs):
        with torch.no_grad():
            told, odds = self._network(*(torch.from_numpy(inputs[name]) for name in INPUTS))
        return {"log_probabilities": told.numpy(), "uses": odds.numpy()}


def pattern(words, user="u", length=4, repeats=6):
    """Return sessions that each go through the same words in turn."""
    return group_sessions(
        Event(user=user, session=f"{user}{session}", time_s=session * 9e3 + at, action="do", resources=(f"k:{word}",))
        for session in range(repeats)
        for at, word in enumerate((words * length)[: length * len(words)])
    )


def random_inputs(batch, slots, rows=6, seed=0):
    draw = np.random.default_rng(seed)
    return [
        torch.from_numpy(draw.normal(size=(batch, slots, CANDIDATE_FEATURES)).astype(np.float32)),
        torch.ones(batch, slots),
        torch.from_numpy(draw.normal(size=(batch, AROUND)).astype(np.float32)),
        torch.from_numpy(draw.integers(0, slots + 1, (batch, rows))),
        torch.from_numpy(draw.normal(size=(batch, rows, FLAGS)).astype(np.float32)),
    ]


def perturbed(network):
    """Return the network with weights that are nowhere zero, as after training."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return network.eval()


@pytest.fixture(scope="module")
def alternating():
    """A network that learned from assistants which alternate between two or three keys, and its losses."""
    names = [chr(code) for code in range(97, 123)]
    assistants = [
        Assistant("alternating", "k", pattern(names[number % 20 : number % 20 + 2 + number % 2], f"u{number}"))
        for number in range(12)
    ]
    losses = []
    network = fit_anonymous(assistants, TRAINING, lambda number, loss: losses.append(loss))
    return network, losses


def test_training_reduces_the_loss(alternating):
    _, losses = alternating
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_an_alternation_of_unseen_names_is_foretold_after_two_rounds(alternating):
    network, _ = alternating
    predictor = AnonymousPredictor(TorchRuntime(network), SMALL)
    context = Context("nobody", "s")
    for number, word in enumerate(["ZEBRA", "YAK"] * 3):
        event = Event(user="nobody", session="s", time_s=float(number), action="do", resources=(f"k:{word}",))
        predictor.learn_one(event)
        context = context.after(event)
    first, second = predictor.predict(context)[:2]
    assert (first.key, second.key) == ("k:ZEBRA", "k:YAK")
    assert first.per_step[0] > 0.6
    assert second.per_step[1] > first.per_step[1]  # one step later it is the other's turn


def test_exchanging_slots_exchanges_what_is_said_of_them():
    network = perturbed(AnonymousNetwork(7, STEPS, NETWORK))
    inputs = random_inputs(3, 7)
    identities = torch.arange(8).expand(3, -1)
    order = torch.from_numpy(np.random.default_rng(2).permutation(7))  # the slot that each place now holds
    place = torch.cat([torch.zeros(1, dtype=torch.long), order.argsort() + 1])
    exchanged = [inputs[0][:, order], inputs[1], inputs[2], place[inputs[3]], inputs[4]]
    moved = torch.cat([identities[:, :1], identities[:, 1:][:, order]], dim=1)
    for said, again in zip(network.disguised(*inputs, identities), network.disguised(*exchanged, moved), strict=True):
        torch.testing.assert_close(again[:, :, 1:], said[:, :, 1:][:, :, order])
        torch.testing.assert_close(again[:, :, 0], said[:, :, 0])


def test_empty_slots_get_nothing_and_change_nothing():
    network = perturbed(AnonymousNetwork(7, STEPS, NETWORK))
    inputs = random_inputs(2, 7)
    inputs[1][:, 4:] = 0.0
    inputs[3].clamp_(max=4)
    told, _ = network(*inputs)
    assert told[:, :, 5:].exp().max() < 1e-9
    inputs[0][:, 4:] = 99.0
    torch.testing.assert_close(network(*inputs)[0], told)


def test_a_network_begins_as_the_online_predictor():
    network = AnonymousNetwork(3, STEPS, NETWORK).eval()
    candidates, around = torch.zeros(1, 3, CANDIDATE_FEATURES), torch.zeros(1, AROUND)
    opinion = torch.tensor([[0.5, 0.2, 0.1], [0.3, 0.3, 0.3], [0.1, 0.1, 0.1]])  # (step, slot)
    candidates[0, :, :STEPS] = opinion.T.log() / 4
    around[0, :STEPS] = (1 - opinion.sum(1)).log() / 4
    told, _ = network(candidates, torch.ones(1, 3), around, torch.zeros(1, 6, dtype=torch.long), torch.zeros(1, 6, 5))
    torch.testing.assert_close(told[0, :, 1:].exp(), opinion)


def test_the_same_seed_gives_the_same_network():
    examples = anonymous_examples([Assistant("a", "k", pattern("abc"))], SMALL, STEPS, 60)
    short = AnonymousTraining(features=SMALL, network=NETWORK, batches=5, batch=16)
    one, two = (fit_examples([examples], short).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_chunks_start_cold_and_keep_sessions_whole():
    sessions = pattern("ab", repeats=5)
    cut = list(chunks(sessions, "k", 16))
    assert [len(chunk) for chunk in cut] == [2, 2, 1]
    examples = anonymous_examples([Assistant("a", "k", sessions)], SMALL, STEPS, 16)
    first_of_chunk = [0, 16, 32]
    assert (examples.labels[first_of_chunk, 0] == 0).all()  # nothing is known yet, so no candidate came
    assert np.diff(np.concatenate([[0], examples.ends]))[first_of_chunk].tolist() == [0, 0, 0]
    assert (examples.labels[7] == [2, NOTHING, NOTHING]).all() or (examples.labels[7, 1:] == NOTHING).all()


def test_a_batch_holds_each_examples_own_candidates():
    examples = anonymous_examples([Assistant("a", "k", pattern("abc"))], SMALL, STEPS, 60)
    chosen = np.array([30, 2, 11])
    batch = batch_of(examples, chosen, SMALL.candidates)
    for row, number in enumerate(chosen):
        start, end = (examples.ends[number - 1] if number else 0), examples.ends[number]
        held = int(batch["present"][row].sum())
        assert held == end - start
        np.testing.assert_array_equal(batch["candidates"][row, :held].numpy(), examples.candidates[start:end])
        assert not batch["candidates"][row, held:].any()


def test_drawn_identities_differ_and_every_slot_has_its_own():
    examples = anonymous_examples([Assistant("a", "k", pattern("abcdef"))], SMALL, STEPS, 60)
    batch = batch_of(examples, np.arange(20, 40), SMALL.candidates, np.random.default_rng(0))
    drawn = batch["identities"].numpy()
    assert all(len(set(row)) == len(row) for row in drawn)
    assert len({tuple(row) for row in drawn}) > 10
    assert drawn.min() == 0
    assert drawn.max() <= SMALL.candidates


def test_invented_assistants_are_repeatable_and_unlike():
    one, again, other = (InventedAssistant(seed).sessions(50) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert sum(len(event.resources) for session in one for event in session.events) >= 50


def test_what_is_left_out_is_measured_by_predictors_that_start_empty():
    def source(name, seeds):
        histories = [InventedAssistant(seed).sessions(420) for seed in seeds]
        return Source(name, ("invented",), SplitRule(), histories, shared=True)

    short = AnonymousTraining(features=SMALL, network=NETWORK, items=(100,), batches=10, batch=32)
    asked = []
    found = leave_out(
        source("left", [1]), [source("other", [2])], short, 1, a_stream=1, on_assistant=lambda: asked.append(1)
    )
    assert found.keys() == {"invented"}
    gained = found["invented"]
    assert list(gained) == ["online", "anonymous", "mixture"]
    assert len({gain.metrics.n for gain in gained.values()}) == 1
    assert gained["online"].metrics.n >= 200
    assert gained["online"].mrr == (0.0, 0.0, 0.0)
    assert gained["anonymous"].mrr[0] != 0.0
    assert len(asked) == 3


def test_each_stream_is_an_assistant_unless_they_share_one():
    sessions = [session for user in ("u1", "u2") for session in pattern("abc", user, repeats=10)]
    apart = Source("apart", ("k",), SplitRule(), [sessions])
    shared = Source("shared", ("k",), SplitRule(), [sessions], shared=True)
    assert [{one.user for one in each.sessions} for each in assistants_of(apart)] == [{"u1"}, {"u2"}]
    assert [{one.user for one in each.sessions} for each in assistants_of(shared)] == [{"u1", "u2"}]
    assert all(len(each.sessions) == 8 for each in assistants_of(apart))  # the fit part
