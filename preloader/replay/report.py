"""One self-contained HTML page that shows what a replay was worth.

Nothing is fetched when it is opened: styles and figures are inline, and a content security policy forbids the rest.
All text that comes from a history is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import msgspec

from preloader.replay import plots
from preloader.replay.calibration import Reliability
from preloader.replay.comparators import PRELOADER
from preloader.replay.metrics import Metrics, Saving
from preloader.replay.page import CALIBRATION_NOTE, FRONTIER_NOTE, PAGE, TABLE_NOTE, TIMELINE_NOTE
from preloader.replay.theme import css_variables
from preloader.replay.timeline import Excerpt, timeline

_UNDEFINED = "\N{EN DASH}"

RUN_NAMES = {
    "lru": "no preloading (lru)",
    "predictive_eviction": "predictive eviction only",
    "preloader": "preloader",
    "clairvoyant": "clairvoyant: knows the future",
}


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report shows.

    Attributes:
        title: What was replayed.
        facts: Name and value of what a reader must know to repeat it.
        rows: The metrics of each run, means over the size seeds.
        spreads: Their standard deviations over the seeds; empty for one seed.
        frontier: The policy under several waste budgets; may be empty.
        savings: By resource, of the first seed, as are all that follow.
        next_item: Calibration of P(next item).
        use_if_loaded: Calibration of P(used if loaded now).
        memory: Resident bytes over the virtual clock.
        end_s: When the replay ended, on that clock.
        capacity_bytes: The budget.
        excerpt: The session to draw; ``None`` where nothing was needed.
    """

    title: str
    facts: dict[str, str]
    rows: dict[str, Metrics]
    spreads: dict[str, Metrics]
    frontier: list[plots.FrontierPoint]
    savings: list[Saving]
    next_item: Reliability
    use_if_loaded: Reliability
    memory: list[tuple[float, int]]
    end_s: float
    capacity_bytes: int
    excerpt: Excerpt | None


def render(data: ReportData) -> str:
    """Return the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    body = [
        f"<header><h1>{escape(data.title)}</h1><p class=lead>{escape(verdict(data.rows))}</p></header>",
        _tiles(data.rows),
        _section("The four runs", _table(data.rows, data.spreads), TABLE_NOTE),
        _section("What waste buys", _frontier(data), FRONTIER_NOTE),
        _section("Where the time was saved", _savings(data.savings), ""),
        _section("One session", _timeline(data.excerpt), TIMELINE_NOTE),
        _section(
            "Are the probabilities true?", plots.calibration(data.next_item, data.use_if_loaded), CALIBRATION_NOTE
        ),
        _section("Memory", plots.memory(data.memory, data.end_s, data.capacity_bytes), ""),
        _section("How it was measured", _facts(data.facts), ""),
    ]
    return PAGE.format(
        title=escape(data.title), light=css_variables(dark=False), dark=css_variables(dark=True), body="\n".join(body)
    )


def verdict(rows: Mapping[str, Metrics]) -> str:
    """Say in one sentence what preloading was worth."""
    ours, lru = rows[PRELOADER], rows["lru"]
    if not ours.needs:
        return "The replayed part needs no resource of this kind, so there is nothing to preload."
    if not ours.preloads:
        anyway = _percent(ours.timely_hit_rate)
        return f"Nothing was preloaded: no prediction was worth it. {anyway} of needs were ready anyway."
    change = "saved" if (ours.time_saved or 0.0) >= 0 else "cost"
    share = "" if ours.time_saved is None else f", {_percent(abs(ours.time_saved))} of all waiting {change}"
    return (
        f"{_percent(ours.timely_hit_rate)} of needs were ready when asked for, {_percent(lru.timely_hit_rate)} without "
        f"preloading{share}; {_percent(ours.waste)} of {ours.preloads:,.0f} preloads were wasted."
    )


def _tiles(rows: Mapping[str, Metrics]) -> str:
    ours, lru, best = rows[PRELOADER], rows["lru"], rows["clairvoyant"]
    tiles = [
        (
            "ready when needed",
            _percent(ours.timely_hit_rate),
            f"lru {_percent(lru.timely_hit_rate)}, clairvoyant {_percent(best.timely_hit_rate)}",
        ),
        ("coverage of lru's misses", _percent(ours.coverage), f"clairvoyant {_percent(best.coverage)}"),
        (
            "waiting time saved",
            _percent(ours.time_saved),
            f"{_percent(ours.time_saved_of_clairvoyant)} of what clairvoyant saves",
        ),
        ("preloads wasted", _percent(ours.waste), f"{ours.wasted:,.0f} of {ours.used + ours.wasted:,.0f}"),
    ]
    cells = (
        f"<div class=tile><span>{escape(name)}</span><b>{value}</b><span>{escape(note)}</span></div>"
        for name, value, note in tiles
    )
    return f"<div class=tiles>{''.join(cells)}</div>"


_COLUMNS = (
    ("ready", "timely_hit_rate", "%"),
    ("late", "late_hits", "n"),
    ("missed", "misses", "n"),
    ("coverage", "coverage", "%"),
    ("time saved", "time_saved", "%"),
    ("p95 wait", "wait_p95_s", "s"),
    ("preloads", "preloads", "n"),
    ("waste", "waste", "%"),
    ("by bytes", "waste_bytes", "%"),
    ("by MB·s", "waste_mb_s", "%"),
    ("pollution", "pollution", "%"),
)


def _table(rows: Mapping[str, Metrics], spreads: Mapping[str, Metrics]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name, _, _ in _COLUMNS)
    lines = []
    for run, row in rows.items():
        cells = "".join(f"<td>{_cell(row, spreads.get(run), field, unit)}</td>" for _, field, unit in _COLUMNS)
        mark = f'<i style="background:var(--{run})"></i>'
        lines.append(f"<tr class={run}><th>{mark}{escape(RUN_NAMES.get(run, run))}</th>{cells}</tr>")
    return (
        f"<div class=wide><table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(row: Metrics, spread: Metrics | None, field: str, unit: str) -> str:
    value = getattr(row, field)
    if value is None:
        return _UNDEFINED
    around = getattr(spread, field) if spread else None
    if unit == "%":
        return (
            f"{100 * value:.1f}"
            + (f"<small>±{100 * around:.1f}</small>" if around is not None else "")
            + "\N{NO-BREAK SPACE}%"
        )
    return f"{value:.2f} s" if unit == "s" else f"{value:,.0f}"


def _frontier(data: ReportData) -> str:
    if not any(point.metrics.waste is not None for point in data.frontier):
        return "<p class=empty>Nothing was preloaded under any of the waste budgets.</p>"
    return plots.frontier(data.frontier, data.rows)


def _savings(savings: Sequence[Saving]) -> str:
    if not any(saving.saved_s for saving in savings):
        return "<p class=empty>No resource was faster or slower than without preloading.</p>"
    return plots.saved_by_resource(savings)


def _timeline(excerpt: Excerpt | None) -> str:
    if excerpt is None:
        return "<p class=empty>No session needed a resource.</p>"
    name = f"<p>Session <code>{escape(excerpt.span.session)}</code> of <code>{escape(excerpt.span.user)}</code></p>"
    return name + timeline(excerpt)


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in facts.items()) + "</dl>"


def _section(title: str, content: str, note: str) -> str:
    after = f"<p class=note>{note}</p>" if note else ""
    return f"<section><h2>{title}</h2>{content}{after}</section>"


def _percent(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
