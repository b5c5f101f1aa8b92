import asyncio
import codecs
import hashlib
import os

import pytest

from preloader.errors import ConfigurationError, RefusedPathError, UnknownResourceError
from preloader.scheduling.execution import InlineExecutor
from preloader.workspace.files import SourceFiles, WorkspaceFiles
from preloader.workspace.paths import Confined
from preloader.workspace.text import decoded, encoding_of
from tests.unit.test_files import FRESH, STALE
from tests.unit.workspace_tree import Desk, write


def load(root, name, **options):
    return SourceFiles(Confined(root), **options).load(name)


def test_what_a_file_resource_tells(tmp_path):
    write(tmp_path, {"src/app.py": "print('ü')\n"})
    source = load(tmp_path, "src/app.py")
    status = (tmp_path / "src/app.py").stat()
    assert (source.path, source.text, source.encoding) == ("src/app.py", "print('ü')\n", "utf-8")
    assert (source.size, source.mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert source.hash == hashlib.sha256("print('ü')\n".encode()).hexdigest()
    assert not source.truncated
    assert not source.binary


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"", "utf-8", ""),
        ("grün".encode(), "utf-8", "grün"),
        (codecs.BOM_UTF8 + "grün".encode(), "utf-8-sig", "grün"),
        ("\ufeffgrün".encode("utf-16-le"), "utf-16", "grün"),
        ("\ufeffgrün".encode("utf-16-be"), "utf-16", "grün"),
        ("\ufeffgrün".encode("utf-32-le"), "utf-32", "grün"),
        (b"# -*- coding: iso-8859-15 -*-\n# 5 \xa4\n", "iso8859-15", "# -*- coding: iso-8859-15 -*-\n# 5 €\n"),
        (b"<?xml version='1.0' encoding='koi8-r'?>\n<a>\xc1</a>", "koi8-r", None),
        (b"<html>\n<head>\n<meta charset=windows-1251>\xe0", "cp1251", None),
        (b"# coding: unicode_escape\n\\x41\n", "utf-8", None),
        (b"# coding: rot13\nuryyb\n", "utf-8", None),
        (b"# coding: nothing\n", "utf-8", None),
        (b"# coding: utf-8\n\xff\n", "latin-1", "# coding: utf-8\nÿ\n"),
        (b"gr\xfcn", "latin-1", "grün"),
    ],
)
def test_encodings(tmp_path, data, encoding, text):
    write(tmp_path, {"x": data})
    source = load(tmp_path, "x")
    assert source.encoding == encoding
    assert text is None or source.text == text


def test_large_files_are_kept_by_their_head(tmp_path):
    write(tmp_path, {"x.txt": "ä" * 1_000, "y.txt": "a" * 100})
    options = {"whole_bytes": 100, "head_bytes": 33}
    source = load(tmp_path, "x.txt", **options)
    assert source.truncated
    assert (len(source.data), source.size) == (33, 2_000)
    assert (source.encoding, source.text) == ("utf-8", "ä" * 16)  # the last character is cut in two, and left out
    assert not load(tmp_path, "y.txt", **options).truncated


def test_binary_files_are_kept_by_their_head(tmp_path):
    write(tmp_path, {"x.bin": b"\x7fELF\0" + b"x" * 200_000, "small.bin": b"\0x"})
    source = load(tmp_path, "x.bin", head_bytes=1_000)
    assert source.binary
    assert source.truncated
    assert (len(source.data), source.encoding) == (1_000, "")
    with pytest.raises(UnknownResourceError, match="is no text"):
        _ = source.text
    assert load(tmp_path, "small.bin").data == b"\0x"


@pytest.mark.parametrize("change", STALE)
@pytest.mark.parametrize("size", ["whole", "head"])
def test_a_stale_byte_is_never_served(tmp_path, change, size):
    path = tmp_path / "root" / "x.txt"
    write(tmp_path, {"root/x.txt": "old content"})
    files = SourceFiles(Confined(tmp_path / "root"), **({} if size == "whole" else {"whole_bytes": 4, "head_bytes": 4}))
    source = files.load("x.txt")
    STALE[change](path)
    assert not files.is_fresh("x.txt", source)


@pytest.mark.parametrize("change", FRESH)
def test_what_did_not_change_stays_fresh(tmp_path, change):
    write(tmp_path, {"x.txt": "old content"})
    files = SourceFiles(Confined(tmp_path))
    source = files.load("x.txt")
    FRESH[change](tmp_path / "x.txt")
    assert files.is_fresh("x.txt", source)
    assert source.mtime_ns == (tmp_path / "x.txt").stat().st_mtime_ns


def test_a_file_that_becomes_ignored_is_no_longer_served(tmp_path):
    write(tmp_path, {"x.txt": "x"})

    async def main():
        async with Desk(tmp_path) as desk:
            await desk.manager.get("file:x.txt")
            (tmp_path / ".gitignore").write_text("x.txt\n")
            with pytest.raises(RefusedPathError):
                await desk.manager.get("file:x.txt")

    asyncio.run(main())


def test_a_preloaded_file_is_a_hit_and_an_edited_one_is_read_again(tmp_path):
    write(tmp_path, {"x.txt": "old"})

    async def main():
        async with Desk(tmp_path) as desk:
            await desk.manager.get("file:x.txt")
            assert (await desk.manager.get("file:x.txt")).text == "old"
            assert desk.outcomes() == (1, 1)
            (tmp_path / "x.txt").write_text("new")
            assert (await desk.manager.get("file:x.txt")).text == "new"
            assert desk.outcomes() == (1, 2)

    asyncio.run(main())


def test_a_key_has_one_spelling(tmp_path):
    write(tmp_path, {"src/x.txt": "x"})
    provider = WorkspaceFiles(Confined(tmp_path), executor=InlineExecutor())
    for name in ("./src/x.txt", "src//x.txt", str(tmp_path / "src/x.txt"), "src/"):
        with pytest.raises(RefusedPathError, match="as a key it is spelled 'src"):
            provider.cost(f"file:{name}")
    assert provider.cost("file:src/x.txt").bytes == 16_000
    asyncio.run(provider.load("file:src/x.txt"))
    assert provider.cost("file:src/x.txt").bytes == 1


def test_what_a_large_file_costs_is_its_head(tmp_path):
    write(tmp_path, {"x.txt": "x" * 5_000})
    provider = WorkspaceFiles(Confined(tmp_path), whole_bytes=1_000, head_bytes=100, executor=InlineExecutor())
    assert asyncio.run(provider.load("file:x.txt")).bytes == 100
    assert provider.cost("file:x.txt").bytes == 100


@pytest.mark.parametrize("name", ["whole_bytes", "head_bytes"])
def test_wrong_arguments(tmp_path, name):
    with pytest.raises(ConfigurationError, match=f"{name} must be a whole number of at least 1, not 0"):
        WorkspaceFiles(Confined(tmp_path), **{name: 0})


def test_decoding_never_fails():
    for seed in range(50):
        data = os.urandom(seed * 7)
        for whole in (True, False):
            encoding = encoding_of(data, whole=whole)
            assert isinstance(decoded(data, encoding, whole=whole), str)
