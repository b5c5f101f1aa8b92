"""Counts whose sessions are in memory whenever a partition is about to be read."""

import gc

from preloader.history import Session
from preloader.history.partitions import Partition


def watch(monkeypatch):
    """Return a list that grows, at each reading, by the users of the sessions alive, but for those of before."""
    before = {id(one): one for one in sessions()}  # kept alive, so that no new one gets an old one's identity
    alive: list[set[str]] = []
    events = Partition.events

    def counted(self, report):
        gc.collect()
        alive.append({one.user for one in sessions() if id(one) not in before})
        return events(self, report)

    monkeypatch.setattr(Partition, "events", counted)
    return alive


def sessions():
    return [one for one in gc.get_objects() if type(one) is Session]
