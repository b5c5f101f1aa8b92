"""One session drawn as lanes: when each resource was needed, how long that took, and what was preloaded meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from preloader.events import Need, NeedOutcome, Preload, PreloadOutcome
from preloader.replay.run import Recording, Span
from preloader.replay.theme import colour, figure, plain

_MOST_NEEDS = 36
_MOST_LANES = 14
_SHORTEST_CUT_S = 12.0
_LEAST_BAR = 0.006  # of the drawing's length
_MARKS = {
    NeedOutcome.HIT: ("o", "good", "hit: was ready"),
    NeedOutcome.LATE_HIT: ("D", "late", "late hit: joined a load"),
    NeedOutcome.MISS: ("X", "bad", "miss: had to load"),
}


class Excerpt(msgspec.Struct, frozen=True):
    """Some consecutive needs of one session, and the preloads around them."""

    span: Span
    needs: list[tuple[float, Need]]
    preloads: list[Preload]

    @property
    def lanes(self) -> list[str]:
        """The resources, in order of first appearance."""
        seen = [(asked_s, need.key) for asked_s, need in self.needs]
        seen += [(preload.started_s or 0.0, preload.key) for preload in self.preloads]
        return list(dict.fromkeys(key for _, key in sorted(seen)))


def choose(recording: Recording) -> Excerpt | None:
    """Return the stretch of a session that shows most: many useful preloads, and some of every outcome.

    ``None`` where no session needed anything.
    """
    needs: dict[tuple[str, str], list[tuple[float, Need]]] = {}
    for asked_s, need in zip(recording.asked_s, recording.needs, strict=True):
        needs.setdefault((need.user, need.session), []).append((asked_s, need))
    preloads: dict[tuple[str, str], list[Preload]] = {}
    for preload in recording.preloads:
        if preload.started_s is not None:
            preloads.setdefault((preload.user, preload.session), []).append(preload)
    excerpts = [
        _cut(span, needs[key], preloads.get(key, []))
        for span in recording.spans
        if (key := (span.user, span.session)) in needs
    ]
    return max(excerpts, key=_interest, default=None)


def _cut(span: Span, needs: Sequence[tuple[float, Need]], preloads: Sequence[Preload]) -> Excerpt:
    """Keep the session's first needs, as many as a drawing bears, and the preloads that began among them."""
    kept: list[tuple[float, Need]] = []
    lanes: set[str] = set()
    for asked_s, need in needs[:_MOST_NEEDS]:
        if len(lanes | {need.key}) > _MOST_LANES:
            break
        lanes.add(need.key)
        kept.append((asked_s, need))
    until_s = kept[-1][0] + kept[-1][1].waited_s
    began = [preload for preload in preloads if (preload.started_s or 0.0) <= until_s]
    return Excerpt(span, kept, began)


def _interest(excerpt: Excerpt) -> float:
    outcomes = [preload.outcome for preload in excerpt.preloads]
    kinds = {need.outcome for _, need in excerpt.needs} | set(outcomes)
    lanes = len(excerpt.lanes)
    crowded = max(0, lanes - _MOST_LANES)
    return outcomes.count(PreloadOutcome.USED) + 2.0 * len(kinds) + 0.2 * len(excerpt.needs) - 3.0 * crowded


def timeline(excerpt: Excerpt) -> str:
    """Draw an excerpt. Long pauses are cut short, and the cuts marked."""
    lanes = excerpt.lanes[: 2 * _MOST_LANES]
    rows = {key: row for row, key in enumerate(lanes)}
    longest_s = _longest_pause_s(excerpt)
    shorten, cuts = _shortened(excerpt, longest_s)

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.grid(visible=False, axis="x")
        for cut_s in cuts:
            axes.axvline(cut_s, color=colour("muted"), linewidth=1, linestyle=(0, (1, 3)))
        _draw_preloads(axes, [preload for preload in excerpt.preloads if preload.key in rows], rows, shorten)
        _draw_needs(axes, excerpt.needs, rows, shorten)
        axes.set_yticks(range(len(lanes)), [plain(key.partition(":")[2]) for key in lanes])
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.set_xlabel(f"seconds (pauses are cut to {longest_s:.0f} s at the dotted lines)" if cuts else "seconds")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, borderaxespad=0)

    return figure(draw, "Needs and preloads of one session", height=1.4 + 0.3 * max(3, len(lanes)))


def _draw_needs(
    axes: Any, needs: Sequence[tuple[float, Need]], rows: dict[str, int], shorten: Callable[[float], float]
) -> None:
    for asked_s, need in needs:
        if need.waited_s:
            axes.hlines(
                rows[need.key], shorten(asked_s), shorten(asked_s + need.waited_s), color=colour("ink"), linewidth=1.5
            )
    for outcome, (marker, role, label) in _MARKS.items():
        chosen = [(shorten(asked_s), rows[need.key]) for asked_s, need in needs if need.outcome is outcome]
        if chosen:
            x, y = zip(*chosen, strict=True)
            axes.scatter(x, y, 46, marker=marker, color=colour(role), label=label, zorder=4)


def _draw_preloads(
    axes: Any, preloads: Sequence[Preload], rows: dict[str, int], shorten: Callable[[float], float]
) -> None:
    """Draw each preload as a bar: pale while it loads, solid while it is ready and waits for its use."""
    labels = {PreloadOutcome.USED: "preload, used (pale: loading)", PreloadOutcome.WASTED: "preload, wasted"}
    least = _LEAST_BAR * max((shorten(preload.ended_s) for preload in preloads), default=0.0)
    for preload in preloads:
        role = colour("preloader" if preload.outcome is PreloadOutcome.USED else "coverage")
        start, end = shorten(preload.started_s or 0.0), shorten(preload.ended_s)
        ready = end if preload.ready_s is None else shorten(preload.ready_s)
        row, label = rows[preload.key], labels.pop(preload.outcome, None)
        axes.barh(row, max(least, ready - start), 0.5, start, color=role, alpha=0.3, linewidth=0)
        axes.barh(row, end - ready, 0.5, ready, color=role, alpha=0.75, linewidth=0, label=label)


def _longest_pause_s(excerpt: Excerpt) -> float:
    """Return the longest pause that is drawn at its length: twice the usual one."""
    asked = [asked_s for asked_s, _ in excerpt.needs]
    return max(_SHORTEST_CUT_S, 2.0 * float(np.median(np.diff(asked)))) if len(asked) > 1 else _SHORTEST_CUT_S


def _shortened(excerpt: Excerpt, longest_s: float) -> tuple[Callable[[float], float], list[float]]:
    """Return a map from the virtual clock to drawn seconds, with idle stretches cut short, and where it cuts."""
    busy = [(asked_s, asked_s + need.waited_s) for asked_s, need in excerpt.needs]
    last_s = busy[-1][1]
    busy += [(preload.started_s or 0.0, preload.ready_s or preload.ended_s) for preload in excerpt.preloads]
    busy = sorted((start, min(end, last_s)) for start, end in busy if start <= last_s)
    known, drawn, cuts = [busy[0][0]], [0.0], []
    for start, end in busy:
        idle_s = start - known[-1]
        if idle_s > longest_s:
            cuts.append(drawn[-1] + longest_s / 2)
        if idle_s > 0:
            known.append(start)
            drawn.append(drawn[-1] + min(idle_s, longest_s))
        if end > known[-1]:
            drawn.append(drawn[-1] + end - known[-1])
            known.append(end)
    return (lambda time_s: float(np.interp(time_s, known, drawn))), cuts
