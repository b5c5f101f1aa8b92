"""A small workspace on disk, and its graph."""

import re
from contextlib import contextmanager

from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.reader import Limits


def write(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())


def unpacked(text):
    """Return the files of a workspace that is written as one text: ``-- path --``, then the file."""
    _, *parts = re.split(r"^-- (.+) --\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def listed(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@contextmanager
def graph_of(root, files, state=None, limits=None):
    write(root, files)
    index = GraphIndex(root, state, limits or Limits())
    try:
        index.build(listed(root))
        yield index
    finally:
        index.close()


def edges(index):
    return {path: index.imports(path) for path in index.paths()}
