"""What a change means: dependents by distance and by name, tests to run, migrations, blocking calls."""

import msgspec
import pytest

from preloader.workspace.graph.diffs import Change, changes_of_diff
from preloader.workspace.impact import Impact, impact
from tests.unit.graph_scene import edges, graph_of, write

FILES = {
    "shop/__init__.py": "from shop.cart import Cart\nfrom shop.money import euro, pound as gbp\n",
    "shop/money.py": (
        '"""Says what euro is."""\n\nRATE = 2\n\n\ndef euro():\n    return RATE\n\n\ndef pound():\n    return 1\n'
    ),
    "shop/cart.py": "from shop.money import euro\n\n\nclass Cart:\n    total = euro\n\n\ndef other():\n    pass\n",
    "shop/view.py": "from shop import Cart\n\n\ndef show():\n    return Cart\n",
    "shop/uk.py": "from shop import gbp\n\n\ndef price():\n    return gbp\n",
    "app.py": "import shop.view\n\nshop.view.show()\n",
    "tests/conftest.py": "from shop.uk import price\n",
    "tests/test_money.py": "from shop.money import pound\n\n\ndef test_pound():\n    assert pound()\n",
    "tests/test_cart.py": "from shop.cart import Cart\n",
    "tests/deep/test_view.py": "from shop.view import show\n",
}


def reached(found):
    return {one.path: one.distance for one in found.dependents}


def test_a_whole_file_reaches_all_that_import_it(tmp_path):
    with graph_of(tmp_path, FILES) as index:
        found = impact(index, [Change("shop/money.py")], 99)
        assert reached(found) == {
            "shop/__init__.py": 1,
            "shop/cart.py": 1,
            "tests/test_money.py": 1,
            "shop/uk.py": 2,
            "shop/view.py": 2,
            "tests/test_cart.py": 2,
            "app.py": 3,
            "tests/conftest.py": 3,
            "tests/deep/test_view.py": 3,
        }
        assert [one.path for one in found.tests] == [
            "tests/test_money.py",
            "tests/test_cart.py",
            "tests/deep/test_view.py",
        ]
        assert not found.truncated
        assert impact(index, [Change("shop/money.py")], 2).truncated


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(7, {"shop/__init__.py", "shop/cart.py", "shop/view.py", "app.py"}, id="euro"),
        pytest.param(11, {"shop/__init__.py", "shop/uk.py", "tests/conftest.py", "tests/test_money.py"}, id="pound"),
        pytest.param(3, {"shop/__init__.py", "shop/cart.py", "shop/view.py", "app.py"}, id="a constant that euro uses"),
        pytest.param(1, set(), id="the docstring"),
    ],
)
def test_changed_lines_reach_those_who_take_what_they_define(tmp_path, line, expected):
    with graph_of(tmp_path, FILES) as index:
        found = impact(index, [Change("shop/money.py", ((line, line),))], 99)
        tests = {"tests/test_cart.py", "tests/deep/test_view.py"} if "app.py" in expected else set()
        assert set(reached(found)) == expected | tests


def test_code_between_definitions_reaches_everyone(tmp_path):
    with graph_of(tmp_path, FILES) as index:
        write(tmp_path, {"shop/money.py": FILES["shop/money.py"] + "\nregister(pound)\n"})
        index.update(["shop/money.py"])
        assert len(impact(index, [Change("shop/money.py", ((11, 11),))], 99).dependents) == 9


def test_a_changed_fixture_runs_the_tests_beneath_it(tmp_path):
    with graph_of(tmp_path, FILES) as index:
        found = impact(index, [Change("tests/conftest.py")], 99)
        assert {one.path: one.reason for one in found.tests} == dict.fromkeys(
            ["tests/deep/test_view.py", "tests/test_cart.py", "tests/test_money.py"],
            "its fixtures come from tests/conftest.py",
        )


def test_a_test_that_is_only_named_after_a_file_is_run(tmp_path):
    with graph_of(tmp_path, FILES | {"tests/test_uk.py": "import requests\n"}) as index:
        tests = {one.path: one.reason for one in impact(index, [Change("shop/uk.py")], 99).tests}
        assert tests["tests/test_uk.py"] == "named after shop/uk.py"


def test_what_tests_are_named_after_is_a_file_of_their_language_or_of_none(tmp_path):
    files = {"cart.py": "", "cart.ts": "", "cart.sql": "", "a/cart.service.ts": "", "pay/__init__.py": ""}
    tests = {"test_cart.py": "", "cart.test.ts": "", "cart.service.spec.ts": "", "test_pay.py": ""}

    def run(index, path):
        return [one.path for one in impact(index, [Change(path)], 99).tests]

    with graph_of(tmp_path, files | tests) as index:
        assert run(index, "cart.py") == ["test_cart.py"]
        assert run(index, "cart.ts") == ["cart.test.ts"]
        assert run(index, "cart.sql") == ["cart.test.ts", "test_cart.py"]
        assert run(index, "a/cart.service.ts") == ["cart.service.spec.ts"]
        assert run(index, "pay/__init__.py") == ["test_pay.py"]


def test_a_file_that_is_gone_reaches_those_who_import_it_still(tmp_path):
    with graph_of(tmp_path, FILES) as index:
        (tmp_path / "shop/cart.py").unlink()
        (tmp_path / "tests/test_cart.py").unlink()
        index.update(["shop/cart.py", "tests/test_cart.py"])
        before = edges(index)
        found = impact(index, [Change("shop/cart.py", deleted=True), Change("tests/test_cart.py", deleted=True)], 99)
        assert reached(found) == {"shop/__init__.py": 1, "shop/view.py": 2, "app.py": 3, "tests/deep/test_view.py": 3}
        assert [one.path for one in found.tests] == ["tests/deep/test_view.py"], "the test that is gone cannot be run"
        assert edges(index) == before


@pytest.mark.parametrize(
    ("files", "changed", "expected"),
    [
        pytest.param(
            {
                "a/__init__.py": "from .core import *\n",
                "a/core.py": "def f():\n    return 1\n\n\ndef g():\n    return 2\n",
                "b.py": "from a import f\n",
                "c.py": "from a import g\n",
            },
            "a/core.py",
            {"a/__init__.py", "b.py"},
            id="python",
        ),
        pytest.param(
            {
                "ui/index.ts": "export * from './core';\n",
                "ui/all.ts": "export * as core from './core';\n",
                "ui/core.ts": "export const f = () =>\n  1;\nexport const g = 2;\n",
                "b.ts": "import { f } from './ui';\n",
                "c.ts": "import { g } from './ui';\n",
                "d.ts": "import { core } from './ui/all';\n",
            },
            "ui/core.ts",
            {"ui/index.ts", "ui/all.ts", "b.ts", "d.ts"},
            id="typescript",
        ),
        pytest.param(
            {
                "Cargo.toml": "[package]\nname = 'r'\n",
                "src/lib.rs": "mod core;\npub use core::*;\n",
                "src/core.rs": "pub fn f() {\n    1\n}\npub fn g() {}\n",
                "tests/b.rs": "use r::f;\n",
                "tests/c.rs": "use r::g;\n",
            },
            "src/core.rs",
            {"src/lib.rs", "tests/b.rs"},
            id="rust",
        ),
    ],
)
def test_what_a_file_offers_on_as_a_whole_reaches_those_who_take_it_there(tmp_path, files, changed, expected):
    with graph_of(tmp_path, files) as index:
        assert set(reached(impact(index, [Change(changed, ((2, 2),))], 99))) == expected


def test_rust_files_hold_their_own_tests(tmp_path):
    files = {
        "Cargo.toml": "[package]\nname='x'\n",
        "src/lib.rs": "mod a;\nmod b;\n",
        "src/a.rs": "use crate::b::f;\n#[test]\nfn t() { f() }\n",
        "src/b.rs": "pub fn f() {}\n",
    }
    with graph_of(tmp_path, files) as index:
        tests = impact(index, [Change("src/b.rs")], 99).tests
        assert [(one.path, one.reason) for one in tests] == [("src/a.rs", "holds its own tests")]


def test_circular_imports_end(tmp_path):
    with graph_of(tmp_path, {"a.py": "import b\n", "b.py": "import c\n", "c.py": "import a\n"}) as index:
        assert reached(impact(index, [Change("a.py")], 99)) == {"c.py": 1, "b.py": 2}


def test_blocking_calls_of_changed_files_are_told_with_whether_they_are_new(tmp_path):
    text = "import time\nasync def f():\n    time.sleep(1)\n\nasync def g():\n    time.sleep(2)\n"
    with graph_of(tmp_path, {"a.py": text, "b.py": text}) as index:
        found = impact(index, [Change("a.py", ((6, 6),))], 99).blocking
        assert [(one.path, one.call.line, one.touched) for one in found] == [("a.py", 6, True), ("a.py", 3, False)]


HELPED = """
from shop import store as st
from shop.store import load as l, fine
from .near import close
import shop.store
def own():
    fine()
    open("x")
def calm():
    return l
async def f(self):
    own()
    l()
    st.save()
    shop.store.save()
    close()
    await l()
    calm(); fine(); unknown.save()
    thread(own)
class A:
    def read(self):
        time.sleep(1)
        return self.path.read_text()
    async def g(self):
        self.read()
"""


def test_what_blocks_in_a_function_of_the_workspace_is_followed_one_step(tmp_path):
    store = "import time\ndef load():\n    time.sleep(1)\ndef save():\n    open('x')\ndef fine():\n    return 1\n"
    files = {"pkg/a.py": HELPED, "pkg/near.py": "from time import sleep as nap\ndef close():\n    nap(1)\n"}
    with graph_of(tmp_path, files | {"shop/store.py": store, "shop/__init__.py": "", "pkg/__init__.py": ""}) as index:
        found = [
            (one.call.line, one.call.call, one.call.function) for one in impact(index, [Change("pkg/a.py")], 9).blocking
        ]
        assert found == [
            (12, "own: open", "f"),
            (13, "shop.store.load: time.sleep", "f"),
            (14, "shop.store.save: open", "f"),
            (15, "shop.store.save: open", "f"),
            (16, "near.close: time.sleep", "f"),
            (25, "self.read: read_text", "g"),
        ]


def test_an_impact_is_plain_json(tmp_path):
    with graph_of(tmp_path, FILES) as index:
        found = impact(index, [Change("shop/money.py", ((7, 7),)), Change("gone.py", deleted=True)], 99)
        assert msgspec.json.decode(msgspec.json.encode(found), type=Impact) == found


MODEL = "from django.db import models\nclass A(models.Model):\n    name = models.CharField()\n"
TABLE = "class A(Base):\n    __tablename__ = 'a'\n"


@pytest.mark.parametrize(
    ("files", "changed", "expected"),
    [
        ({"shop/models.py": MODEL, "shop/migrations/__init__.py": ""}, ["shop/models.py"], ["django needed"]),
        (
            {"shop/models.py": MODEL, "shop/migrations/__init__.py": "", "shop/migrations/0002_name.py": ""},
            ["shop/models.py", "shop/migrations/0002_name.py"],
            ["django touched"],
        ),
        ({"shop/models/a.py": "x = 1\n", "shop/migrations/__init__.py": ""}, ["shop/models/a.py"], []),
        ({"alembic.ini": "", "db/tables.py": TABLE}, ["db/tables.py"], ["alembic needed"]),
        (
            {"alembic.ini": "", "db/tables.py": TABLE, "alembic/versions/abc_x.py": ""},
            ["db/tables.py", "alembic/versions/abc_x.py"],
            ["alembic touched"],
        ),
        ({"db/tables.py": TABLE}, ["db/tables.py"], []),
        ({"prisma/schema.prisma": ""}, ["prisma/schema.prisma"], ["prisma needed"]),
        (
            {"prisma/schema.prisma": "", "prisma/migrations/1_x/migration.sql": ""},
            ["prisma/schema.prisma", "prisma/migrations/1_x/migration.sql"],
            ["prisma touched"],
        ),
        ({"db/schema.sql": "", "db/migrations/1.sql": ""}, ["db/schema.sql"], ["sql needed"]),
        ({"sql/V2__add.sql": ""}, ["sql/V2__add.sql"], ["sql touched"]),
        ({"src/migrations/1699-Add.ts": ""}, ["src/migrations/1699-Add.ts"], ["sql touched"]),
        ({"db/changelog/1.yaml": ""}, ["db/changelog/1.yaml"], ["sql touched"]),
        ({"migrations/index.ts": ""}, ["migrations/index.ts"], []),
        (
            {"blog/models/post.py": "from django.db.models import Model\n", "blog/migrations/__init__.py": ""},
            ["blog/models/post.py"],
            ["django needed"],
        ),
        (
            {"alembic.ini": "", "app/a.py": "class A(SQLModel, table=True):\n    pass\n"},
            ["app/a.py"],
            ["alembic needed"],
        ),
    ],
)
def test_migrations_are_told_by_rules_of_thumb(tmp_path, files, changed, expected):
    with graph_of(tmp_path, files) as index:
        found = impact(index, [Change(path) for path in changed], 99).migrations
        assert [f"{one.kind} {one.state}" for one in found] == expected
        assert all(one.reason for one in found)


DIFF = r"""diff --git a/shop/money.py b/shop/money.py
index 1..2 100644
--- a/shop/money.py
+++ b/shop/money.py
@@ -6,2 +6,2 @@ x
 def euro():
-    return RATE
+    return RATE + 1
@@ -20,2 +20 @@
-def yen():
-    return 3
+++ counter
diff --git a/new.py b/new.py
new file mode 100644
--- /dev/null
+++ b/new.py
@@ -0,0 +1,2 @@
+a = 1
+b = 2
\ No newline at end of file
diff --git a/old.py b/old.py
deleted file mode 100644
--- a/old.py
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/here.py b/there.py
similarity index 100%
rename from here.py
rename to there.py
diff --git "a/caf\303\251 \"x\".py" "b/caf\303\251 \"x\".py"
--- "a/caf\303\251 \"x\".py"
+++ "b/caf\303\251 \"x\".py"
@@ -3,0 +4 @@
+y
"""


def test_a_diff_says_what_changed():
    assert changes_of_diff(DIFF) == [
        Change("shop/money.py", ((6, 7), (19, 20)), removed=("yen",)),
        Change("new.py"),
        Change("old.py", deleted=True),
        Change("here.py", deleted=True),
        Change("there.py"),
        Change('café "x".py', ((4, 4),)),
    ]
    assert changes_of_diff("no diff at all\n@@ -1 +1 @@\n+x\n") == []


@pytest.mark.parametrize(("old", "new"), [("a/", "b/"), ("i/", "w/"), ("", "")])
def test_prefixes_of_a_diff_are_no_directories(old, new):
    for path in ("a/x.py", "src/x.py"):
        diff = f"diff --git {old}{path} {new}{path}\n--- {old}{path}\n+++ {new}{path}\n@@ -1 +1 @@\n-x\n+y\n"
        assert [change.path for change in changes_of_diff(diff)] == [path]


@pytest.mark.parametrize(
    "removed",
    [
        "def gone():\n-    pass",
        "gone = 1",
        "gone: int = 1",
        "from .other import gone",
        "    gone,  # noqa: F401",
        "    kept as gone",
        "export const gone = 1;",
        "export { a, gone } from './other';",
        "pub(crate) use other::gone;",
    ],
)
def test_what_a_diff_removed_reaches_those_who_take_it(tmp_path, removed):
    files = {"a.py": "x = 1\n", "b.py": "from a import gone\n", "c.py": "from a import x\n"}
    with graph_of(tmp_path, files) as index:
        lines = removed.count("\n") + 1
        diff = f"--- a/a.py\n+++ b/a.py\n@@ -2,{lines} +1,0 @@\n-{removed}\n"
        assert set(reached(impact(index, changes_of_diff(diff), 99))) >= {"b.py"}
