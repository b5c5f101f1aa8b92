"""What a model without a vocabulary sees: keys as slots without meaning, each with features that need no identity.

For a context, the *candidates* are at most S keys that may come: each takes a slot, and is described by how lately,
how often and after what it came. Renaming every key changes none of it. One code path serves training and run time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec
import numpy as np

from preloader.events import Context, Event
from preloader.ndarray import NDArray
from preloader.prediction.anonymous_memory import CONTEXTS, AnonymousSettings, Memory, Recall
from preloader.prediction.distribution import Distribution
from preloader.prediction.successors import Followers

Arrays = dict[str, NDArray[np.generic]]

OWN = 14
"""How many features a candidate has beside those of the contexts: of session, user, times and words."""

STEPS = 3
"""How many items ahead the online predictor's opinion is heard."""

CANDIDATE_FEATURES = STEPS + 3 * CONTEXTS + OWN
MOMENT = 20
AROUND = STEPS + 3 * CONTEXTS + MOMENT
"""How many numbers describe the whole: what the opinion leaves for new keys, each context's total, variety and entropy,
and the moment."""

ITEMS = STEPS + 3 * CONTEXTS
"""Where ``around`` holds how many items came so far, as a logarithm."""

SCALE = 0.25
"""What logarithms are multiplied by."""

FLAGS = 5
"""How many numbers describe an entry of the sequence."""

_SMOOTHING = 0.1
_FLOOR = 1e-4
_DAY_S, _WEEK_S = 86_400.0, 604_800.0

FloatArray = NDArray[np.float32]


class Seen(msgspec.Struct, frozen=True, eq=False):
    """What the model sees of one context.

    ==============  ============================  ==================================================================
    array           shape                         what it holds
    ==============  ============================  ==================================================================
    ``candidates``  (S, `CANDIDATE_FEATURES`)     each candidate's features; 0 for empty slots
    ``present``     (S,)                          1 for a candidate, 0 for an empty slot
    ``around``      (`AROUND`,)                   what is known of the whole
    ``recent``      (rows,) int32                 the session's latest items, oldest first: slot + 1; 0 for none
    ``flags``       (rows, `FLAGS`)               how each of their events ended, and the gap before it
    ==============  ============================  ==================================================================

    Attributes:
        keys: The candidates, each with its slot.
        arrays: The arrays, float32 unless said.
    """

    keys: dict[str, int]
    arrays: Arrays


def see(memory: Memory, context: Context, settings: AnonymousSettings, opinion: Distribution) -> Seen:
    """Return what a model sees of a context.

    Args:
        memory: What is remembered of the kind.
        context: It.
        settings: How many of each.
        opinion: What the online predictor says of it, for `STEPS` steps.
    """
    recall = memory.recall(context)
    slots = {key: slot for slot, key in enumerate(_candidates(memory, recall, settings.candidates, opinion))}
    described = np.zeros((settings.candidates, CANDIDATE_FEATURES), np.float32)
    if slots:
        described[: len(slots), STEPS:] = _described(memory, recall, slots)
        described[: len(slots), :STEPS] = _said(opinion, slots)
    present = np.zeros(settings.candidates, np.float32)
    present[: len(slots)] = 1.0
    recent, flags = _sequence(memory, context, slots, settings.recent)
    arrays: Arrays = {
        "candidates": described,
        "present": present,
        "around": np.concatenate([_logs(1.0 - opinion.probabilities.sum(1)), _around(memory, recall, len(slots))]),
        "recent": recent,
        "flags": flags,
    }
    return Seen(slots, arrays)


def _candidates(memory: Memory, recall: Recall, most: int, opinion: Distribution) -> list[str]:
    """Return the keys that may come: the session's, the likeliest in the online predictor's opinion, the latest."""
    found = dict.fromkeys(recall.past.items)
    if len(memory.known) > most:
        keys = list(opinion.index)
        likeliest = np.argsort(-opinion.probabilities.max(axis=0), kind="stable")[: most // 2]
        found.update(dict.fromkeys(keys[column] for column in likeliest.tolist()))
        found.update(dict.fromkeys(islice(reversed(memory.recent(recall.past.context.user)), most // 4)))
    found.update(dict.fromkeys(islice(reversed(memory.known), most)))
    return [key for key in found if key in memory.known][:most]


def _said(opinion: Distribution, slots: dict[str, int]) -> FloatArray:
    """Return the opinion of each candidate, shape (candidates, `STEPS`)."""
    columns = [opinion.index.get(key, -1) for key in slots]
    given = np.concatenate([opinion.probabilities, np.zeros((STEPS, 1))], axis=1)
    return _logs(given[:, columns].T)


def _logs(probabilities: NDArray[np.float64]) -> FloatArray:
    return np.asarray(np.log(np.maximum(probabilities, _FLOOR)) * SCALE, np.float32)


def _described(memory: Memory, recall: Recall, slots: dict[str, int]) -> FloatArray:
    """Return the candidates' features, shape (candidates, `CANDIDATE_FEATURES`)."""
    count = len(slots)
    counts, latest = _counted(recall.followers, slots)  # (contexts, candidates)
    totals, varieties = _sizes(recall.followers)
    shares = np.log(counts + _SMOOTHING) - np.log(totals + _SMOOTHING * (varieties + 1))[:, None]
    shares *= (totals > 0)[:, None]
    own = np.zeros((OWN, count))
    _describe_session(own, recall.past.items, slots)
    _describe_times(own, memory, recall, slots)
    own[12:14] = _heard(recall, slots, counts[0], float(totals[0]))
    described: FloatArray = np.concatenate([np.log1p(counts) * SCALE, shares * SCALE, latest, own]).T.astype(np.float32)
    return described


def _counted(followers: Sequence[Followers], slots: dict[str, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how often each candidate came after each context, and whether it was the last to."""
    counts, latest = np.zeros((len(followers), len(slots))), np.zeros((len(followers), len(slots)))
    for row, one in enumerate(followers):
        for key, count in one.counts.items():
            slot = slots.get(key)
            if slot is not None:
                counts[row, slot] = count
        if one.latest in slots:
            latest[row, slots[one.latest]] = 1.0
    return counts, latest


def _sizes(followers: Sequence[Followers]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    totals = np.array([one.total for one in followers], np.float64)
    return totals, np.array([len(one.counts) for one in followers], np.float64)


def _describe_session(own: NDArray[np.float64], items: Sequence[str], slots: dict[str, int]) -> None:
    """Fill rows 0-6: when and how often the session used a candidate, and whether it followed what came last."""
    for back, key in enumerate(items):
        slot = slots.get(key)
        if slot is None:
            continue
        if not own[1, slot]:
            own[0, slot] = 1.0 / (1 + back)
        own[1, slot] += 0.25
        own[2, slot] = max(own[2, slot], back == 0)
        own[3, slot] = max(own[3, slot], back == 1)
    weight = 1.0
    for back in range(1, len(items)):
        slot = slots.get(items[back - 1])
        if items[back] == items[0] and slot is not None:
            own[4, slot] += weight
            if back + 1 < len(items) and items[back + 1] == items[1]:
                own[5, slot] += weight
            weight *= 0.6
    for key, slot in slots.items():
        own[6, slot] = key not in items


def _describe_times(own: NDArray[np.float64], memory: Memory, recall: Recall, slots: dict[str, int]) -> None:
    """Fill rows 7-11: how many items, and how long, ago a candidate was first and last used, and by the user."""
    now_s = recall.past.context.time_s
    known = memory.known
    for key, slot in slots.items():
        one = known[key]
        own[7, slot] = math.log1p(max(memory.items - one.last - 1, 0)) * SCALE
        own[8, slot] = math.log1p(memory.items - one.first) * SCALE
        own[9, slot] = _log(now_s - one.last_s) if now_s is not None else 0.0
    for rank, key in enumerate(reversed(memory.recent(recall.past.context.user))):
        if key in slots:
            own[10, slots[key]] = 1.0 / (1 + rank)
    for rank, key in enumerate(islice(reversed(known), len(slots))):
        if key in slots:
            own[11, slots[key]] = 1.0 / (1 + rank)


def _heard(recall: Recall, slots: dict[str, int], popularity: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """Return how much the words speak for each candidate, shape (2, candidates): in sum, and the one that says most."""
    words = [one for one in recall.words if one.total]
    if not words:
        return np.zeros((2, len(slots)))
    counts, _ = _counted(words, slots)  # (words, candidates)
    totals, _ = _sizes(words)
    prior = (popularity + _SMOOTHING) / (total + _SMOOTHING * (len(slots) + 1))
    said = np.log((counts + prior) / ((totals + 1.0)[:, None] * prior))  # log-odds against the prior
    said = np.maximum(said, -2.0)
    return np.stack([said.sum(axis=0) / math.sqrt(len(words)) * SCALE, said.max(axis=0) * SCALE])


def _around(memory: Memory, recall: Recall, candidates: int) -> FloatArray:
    """Return what is known of the whole, shape (`AROUND`,)."""
    totals, varieties = _sizes(recall.followers)
    entropies = [one.entropy() / 2 for one in recall.followers]
    moment = _moment(memory, recall, candidates)
    return np.concatenate([np.log1p(totals) * SCALE, np.log1p(varieties) * SCALE, entropies, moment]).astype(np.float32)


def _moment(memory: Memory, recall: Recall, candidates: int) -> list[float]:
    context = recall.past.context
    recent = context.recent
    latest = recent[-1] if recent else None
    words = len(recall.words)
    moment = [0.0] * MOMENT
    moment[:9] = (
        math.log1p(memory.items) * SCALE,
        math.log1p(len(memory.known)) * SCALE,
        memory.novelty,
        len(memory.known) / (1.0 + memory.items),
        math.log1p(len(recall.past.items)) / 2,
        math.log1p(len(set(recall.past.items))) / 2,
        math.log1p(len(recent)) / 2,
        math.log1p(candidates) * SCALE,
        recall.past.run / 12,
    )
    moment[9] = float(words > 0)
    moment[10] = sum(one.total > 0 for one in recall.words) / words if words else 0.0
    if latest is None:
        return moment
    moment[11:16] = (
        1.0,
        float(not latest.resources),
        float(latest.ok is True),
        float(latest.ok is False),
        float(latest.text is not None),
    )
    if len(recent) > 1:
        moment[16] = _log(latest.time_s - recent[-2].time_s)
    if math.isfinite(latest.time_s):
        day = 2 * math.pi * (latest.time_s % _DAY_S) / _DAY_S
        moment[17:20] = math.sin(day), math.cos(day), float(latest.duration_s is not None)
    return moment


def _sequence(
    memory: Memory, context: Context, slots: dict[str, int], rows: int
) -> tuple[NDArray[np.int32], FloatArray]:
    """Return the latest items' slots and their circumstances, oldest first."""
    recent, flags = np.zeros(rows, np.int32), np.zeros((rows, FLAGS), np.float32)
    at = rows
    for event, before in _backwards(context.recent):
        for key in reversed(event.keys(memory.kind)):
            if at == 0:
                return recent, flags
            at -= 1
            recent[at] = slots.get(key, -1) + 1
            flags[at] = 1.0, event.ok is True, event.ok is False, before, event.text is not None
    return recent, flags


def _backwards(recent: Sequence[Event]) -> Iterable[tuple[Event, float]]:
    """Yield the events, latest first, each with the gap before it on a logarithmic scale."""
    for at in range(len(recent) - 1, -1, -1):
        yield recent[at], _log(recent[at].time_s - recent[at - 1].time_s) if at else 0.0


def _log(seconds: float) -> float:
    """Return a time on a logarithmic scale, about 0 to 2; what is no time counts as none."""
    return math.log1p(min(max(seconds, 0.0), 1e7)) / 8 if math.isfinite(seconds) else 0.0
