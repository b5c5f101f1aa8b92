"""The page that a replay writes: it fetches nothing, runs nothing, and shows names as text."""

import re
from html.parser import HTMLParser

import pytest

from preloader.events import Event
from preloader.history import SplitRule, group_sessions, split_sessions
from preloader.replay.report import render
from preloader.replay.study import report_data
from tests.integration.replay_plans import KIND, conduct, plan


@pytest.fixture(scope="module")
def study():
    return conduct(plan(), evidence=True, frontier=True)


class Page(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.handlers = set(), [], []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


def page_of(study, title="A history"):
    html = render(report_data(title, {"data": "history.jsonl"}, study))
    page = Page()
    page.feed(html)
    return html, page


@pytest.fixture(scope="module")
def rendered(study):
    return page_of(study)


def test_a_report_fetches_nothing_and_runs_nothing(rendered):
    html, page = rendered
    assert not page.tags & {"script", "img", "iframe", "object", "link", "foreignobject"}
    assert not page.handlers
    assert all(link.startswith("#") for link in page.links)
    assert "default-src 'none'" in html
    assert set(re.findall(r"https?://[^\s\"'<)]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert html.count("<svg") == 5


def test_the_same_study_gives_the_same_page(study, rendered):
    assert page_of(study)[0] == rendered[0]


def test_names_from_a_history_are_text_and_nothing_else():
    hostile = [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "$\\frac{$",
        "]]>&amp;",
        "a\x00b\u202ec",
        "日本語🙂",
        "_x",
    ]
    names = [f"{KIND}:{name}" for name in hostile]
    events = [
        Event(
            user=hostile[0], session=f"{number}{hostile[1]}", time_s=30.0 * at, action="do", resources=(names[at % 7],)
        )
        for number in range(5)
        for at in range(28)
    ]
    fit, test = split_sessions(group_sessions(events), SplitRule())
    study = conduct(plan(fit=fit, test=test, budget=3.0, waste=0.5), evidence=True, frontier=True)
    html, page = page_of(study, title=hostile[1])
    assert not page.tags & {"script", "img"}
    assert not page.handlers
    assert "&lt;script&gt;" in html
    assert "日本語🙂" in html
    assert "\x00" not in html
    assert "\u202e" not in html.split("<svg", 1)[1].rsplit("</svg>", 1)[0].split("<p>Session")[0]


def test_a_report_without_any_preload_says_so():
    html, _ = page_of(conduct(plan(policy="none"), evidence=True, frontier=True))
    assert "Nothing was preloaded" in html
