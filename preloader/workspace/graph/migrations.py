"""Which changes are migrations of a database, and which likely need one: rules of thumb, each named in its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from preloader.workspace.graph.diffs import Change
from preloader.workspace.graph.layout import basename, dirname, joined, up

_ALEMBIC = re.compile(r"(?:.*/)?(?:alembic|migrations)/versions/[^/]+\.py")
_DJANGO = re.compile(r"(?:.*/)?migrations/\d{4}_\w+\.py")
_FLYWAY = re.compile(r"(?:.*/)?[VUR]\d*[\d._]*__[^/]+\.sql")
_PRISMA = re.compile(r"(?:.*/)?prisma/migrations/[^/]+/migration\.sql")
_SQL = re.compile(r"(?:.*/)?(?:migrations?|migrate|changelogs?|drizzle)/(?:.*/)?[^/]+\.(?:sql|rb)")
_CODE = re.compile(r"(?:.*/)?(?:migrations/\d[^/]*\.[cm]?[jt]s|changelogs?/(?:.*/)?[^/]+\.(?:xml|ya?ml))")
_KINDS = (
    ("prisma", _PRISMA),
    ("alembic", _ALEMBIC),
    ("django", _DJANGO),
    ("sql", _FLYWAY),
    ("sql", _SQL),
    ("sql", _CODE),
)

_DJANGO_MODEL = re.compile(rb"\bmodels\.(?:Model\b|\w{1,64}Field\b|ForeignKey\b)|\bdjango\.db\.models import\b")
_SQLALCHEMY_MODEL = re.compile(
    rb"\b__tablename__\b|\bmapped_column\s*\(|\bdb\.Column\s*\(|\bColumn\s*\(|\bTable\s*\(|\btable\s*=\s*True\b"
)


class Migration(Struct, frozen=True):
    """A migration that a change touches, or likely needs.

    Attributes:
        path: The migration, or the changed file that needs one.
        kind: ``django``, ``alembic``, ``prisma`` or ``sql``.
        state: ``touched``, or ``needed``: none of that place is part of the change.
        reason: The rule that says so; none of them is proof.
    """

    path: str
    kind: str
    state: str
    reason: str


def migrations(
    changes: Mapping[str, Change],
    exists: Callable[[str], bool],
    names: Callable[[str], list[str]],
    read: Callable[[str], bytes],
) -> list[Migration]:
    """Return the migrations that a change touches, and those that it likely needs and does not have.

    Args:
        changes: What was changed, by path.
        exists: Whether there is such a file.
        names: The names of the files in a directory.
        read: A file's bytes, empty where it cannot be read.
    """
    touched = {path: kind for path in sorted(changes) if (kind := _kind(path))}
    found = [
        Migration(path, kind, "touched", f"its path is that of a {kind} migration") for path, kind in touched.items()
    ]
    for path in sorted(changes.keys() - touched.keys()):
        found.extend(_needed(path, touched, exists, names, read))
    return found


def _kind(path: str) -> str:
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(path)), "")


def _needed(
    path: str,
    touched: Mapping[str, str],
    exists: Callable[[str], bool],
    names: Callable[[str], list[str]],
    read: Callable[[str], bytes],
) -> Iterator[Migration]:
    name = basename(path)
    if name == "schema.prisma" and "prisma" not in touched.values():
        yield Migration(path, "prisma", "needed", "the schema changed and no prisma migration did")
    elif name in ("schema.sql", "structure.sql") and "sql" not in touched.values():
        if any(names(joined(place, "migrations")) for place in up(path)):
            yield Migration(path, "sql", "needed", "the schema changed and no migration did")
    elif path.endswith(".py"):
        yield from _needed_by_models(path, touched, exists, read)


def _needed_by_models(
    path: str, touched: Mapping[str, str], exists: Callable[[str], bool], read: Callable[[str], bytes]
) -> Iterator[Migration]:
    app = next((place for place in up(path) if exists(joined(place, "migrations/__init__.py"))), None)
    models = basename(path) == "models.py" or "models" in dirname(path).split("/")
    data = read(path)
    if app is not None and models and _DJANGO_MODEL.search(data):
        own = joined(app, "migrations")
        if not any(kind == "django" and dirname(other) == own for other, kind in touched.items()):
            yield Migration(path, "django", "needed", f"it holds Django models and nothing in {own} changed")
        return
    alembic = any(exists(joined(place, "alembic.ini")) for place in up(path))
    if alembic and "alembic" not in touched.values() and _SQLALCHEMY_MODEL.search(data):
        yield Migration(path, "alembic", "needed", "it holds SQLAlchemy tables and no alembic migration changed")
