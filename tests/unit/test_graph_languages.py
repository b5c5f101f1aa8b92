"""What the readers find in each language, and which files the resolvers take imports for."""

import pytest

from preloader.errors import MissingExtraError
from preloader.workspace.graph import parsing
from tests.unit.graph_scene import graph_of, unpacked
from tests.unit.graph_workspaces import GO, JAVA, JAVASCRIPT, PYTHON, RUST

PYTHON_EDGES = {
    "src/shop/__init__.py": {"src/shop/cart.py": ("Cart",)},
    "src/shop/cart.py": {"src/shop/money.py": ()},
    "src/shop/money.py": {},
    "src/shop/api/views.py": {"src/shop/cart.py": ("Cart",), "src/shop/money.py": ()},
    "plugins/payment/card.py": {"src/shop/__init__.py": ()},
    "plugins/shipping/post.py": {"plugins/payment/card.py": ()},
    "tests/test_cart.py": {"src/shop/__init__.py": ("Cart",), "src/shop/money.py": (), "tests/helper.py": ()},
    "tools/run.py": {"src/shop/cart.py": (), "src/shop/money.py": ()},
}
JAVASCRIPT_EDGES = {
    "packages/core/src/index.ts": {"packages/core/src/util/num.ts": ("helper",), "packages/core/src/util/text.ts": ()},
    "packages/core/src/util/text.ts": {"packages/core/src/types.d.ts": ("T",)},
    "packages/old/lib/start.js": {"packages/old/lib/parts/index.jsx": (), "packages/core/src/util/text.ts": ()},
    "ui/src/button.tsx": {
        "cfg/main.ts": ("default",),
        "packages/core/src/index.ts": ("helper",),
        "packages/core/src/types.d.ts": (),
        "packages/old/lib/start.js": (),
    },
    "ui/app.mts": {"ui/data.json": ("default",), "ui/src/button.tsx": ("Button",), "ui/style.css": ()},
}
GO_EDGES = {
    "main.go": {"cart/cart.go": (), "cart/total.go": (), "third/money/euro.go": (), "version.go": ("version",)},
    "version.go": {},
    "cart/cart.go": {},
    "cart/total.go": {"cart/cart.go": ("Cart",)},
    "cart/cart_test.go": {"cart/cart.go": ("New",)},
}
RUST_EDGES = {
    "app/src/main.rs": {
        "app/src/config.rs": (),
        "app/src/net/http.rs": ("get",),
        "app/src/net/mod.rs": (),
        "app/src/odd_name.rs": (),
        "text-kit/src/lib.rs": ("split",),
        "text-kit/src/words.rs": ("Word",),
    },
    "app/src/config.rs": {"app/src/net/http.rs": ("Request", "Response"), "app/src/net/mod.rs": ()},
    "app/src/net/mod.rs": {"app/src/net/http.rs": ()},
    "app/src/net/http.rs": {"app/src/config.rs": ()},
    "app/tests/net.rs": {"app/tests/common/mod.rs": ()},
    "text-kit/src/lib.rs": {"text-kit/src/words.rs": ()},
    "text-kit/src/words.rs": {"text-kit/src/lib.rs": ("split",)},
}
JAVA_EDGES = {
    "shop/src/main/java/org/acme/Cart.java": {
        "shop/src/main/java/org/acme/Base.java": ("Base",),
        "shop/src/main/java/org/acme/money/Euro.java": ("Euro",),
        "shop/src/main/java/org/acme/util/Text.java": (),
    },
    "shop/src/main/java/org/acme/Unused.java": {},
    "shop/src/test/java/org/acme/CartTest.java": {
        "shop/src/main/java/org/acme/Base.java": (),
        "shop/src/main/java/org/acme/Cart.java": (),
    },
}
WORKSPACES = {
    "python": (PYTHON, PYTHON_EDGES),
    "javascript": (JAVASCRIPT, JAVASCRIPT_EDGES),
    "go": (GO, GO_EDGES),
    "rust": (RUST, RUST_EDGES),
    "java": (JAVA, JAVA_EDGES),
}


@pytest.mark.parametrize("language", WORKSPACES)
def test_imports_lead_to_the_files_that_they_mean(tmp_path, language):
    text, expected = WORKSPACES[language]
    with graph_of(tmp_path, unpacked(text)) as index:
        assert {path: index.imports(path) for path in expected} == expected
        for path, targets in expected.items():
            for target, names in targets.items():
                assert index.importers(target)[path] == names


DEFINITIONS = {
    "a.py": (
        """\
X: int = 1
class A:
    def f(self): ...
    class B:
        async def g(self): ...
@d
def h():
    y = 1
""",
        "X constant, A class, f method A, B class A, g method B, h function",
    ),
    "a.ts": (
        """\
export const f = () => 1, K = 2;
export abstract class A { m() {} static n() {} }
interface I {}
type T = 1;
enum E {}
namespace N { export function inner() {} }
function* g() { const local = 1; }
""",
        "f function, K constant, A class, m method A, n method A, I interface, T type, E type, N module, "
        "inner function, g function",
    ),
    "a.go": (
        """\
package p
type (
 A int
 B = A
)
func F() {}
func (a A) M() {}
const C, D = 1, 2
var (
 V = 1
)
""",
        "A type, B type, F function, M method, C constant, D constant, V constant",
    ),
    "a.rs": (
        """\
struct S; enum E {} trait T { fn t(&self); }
impl S { fn m() {} }
fn f() { fn inner() {} }
mod n { fn g() {} }
const C: u8 = 1; static D: u8 = 1; type A = u8;
macro_rules! mm { () => {} }
""",
        "S class, E type, T interface, t method T, m method S, f function, n module, g function, "
        "C constant, D constant, A type, mm macro",
    ),
    "A.java": (
        """\
package p;
class A { A() {} void m() {} enum E { X; void n() {} } }
interface I { void i(); }
record R(int x) {}
""",
        "A class, A method A, m method A, E type A, n method E, I interface, i method I, R class",
    ),
}


@pytest.mark.parametrize("path", DEFINITIONS)
def test_definitions_are_found_with_their_kind_and_class(tmp_path, path):
    text, expected = DEFINITIONS[path]
    with graph_of(tmp_path, {path: text}) as index:
        found = [f"{one.name} {one.kind} {one.parent}".rstrip() for one in index.facts(path).definitions]
        assert ", ".join(found) == expected
        name = expected.split()[0]
        assert index.defining(name, 1)[0][0] == path


def test_lines_are_those_of_the_text(tmp_path):
    with graph_of(tmp_path, {"a.py": "import b\nfrom c import (\n  d,\n)\n\n\ndef f():\n    pass\n"}) as index:
        facts = index.facts("a.py")
        assert [(one.line, one.end_line) for one in (*facts.imports, *facts.definitions)] == [(1, 1), (2, 4), (7, 8)]


def test_a_file_with_errors_gives_what_can_be_read(tmp_path):
    text = "import b\nx = = 1\ndef f(self:\n    pass\n\nimport c\n"
    with graph_of(tmp_path, {"a.py": text, "b.py": "", "c.py": ""}) as index:
        assert index.facts("a.py").has_errors
        assert set(index.imports("a.py")) == {"b.py", "c.py"}


PYTHON_CALLS = """
import time as t, subprocess, pathlib, requests
from time import sleep as nap
from os import path, system
import anyio
def sync():
    t.sleep(1)
async def outer(p):
    t.sleep(1)
    nap(2)
    subprocess.run(["x"])
    open("f").read()
    pathlib.Path("a").read_text()
    p.read_text()
    await anyio.Path("a").read_text()
    await p.read_text()
    await asyncio.to_thread(open, "f")
    await run(lambda: t.sleep(3))
    def inner():
        t.sleep(1)
    with requests.get("u") as r:
        path.join("a"); asyncio.sleep(1)
    class C:
        async def method(self):
            return [system("x") for _ in y]
"""


def test_blocking_calls_in_coroutines_are_found_through_aliases(tmp_path):
    with graph_of(tmp_path, {"a.py": PYTHON_CALLS}) as index:
        found = [(one.line, one.call, one.function, one.certain) for one in index.facts("a.py").blocking]
    assert found == [
        (9, "time.sleep", "outer", True),
        (10, "time.sleep", "outer", True),
        (11, "subprocess.run", "outer", True),
        (12, "open", "outer", True),
        (13, "pathlib.Path.read_text", "outer", True),
        (14, "read_text", "outer", False),
        (21, "requests.get", "outer", True),
        (25, "os.system", "method", True),
    ]


def test_an_own_function_called_open_does_not_block(tmp_path):
    with graph_of(tmp_path, {"a.py": "def open(x): ...\nasync def f():\n    open(1)\n"}) as index:
        assert index.facts("a.py").blocking == ()


JAVASCRIPT_CALLS = """
import fs, { statSync as stat } from 'node:fs';
const { execSync } = require('child_process');
const gz = require('zlib');
function sync() { fs.readFileSync('a'); }
async function outer() {
  fs.readFileSync('a');
  gz.gunzipSync(x);
  execSync('ls');
  db.runSync('q');
  const f = () => fs.writeFileSync('b', '');
  const s = "fs.readFileSync('c')"; // fs.readFileSync('d')
}
const arrow = async () => { fs.existsSync('e'); };
class A { async m() { this.loadSync(); } n() { fs.rmSync('x'); } }
"""


@pytest.mark.parametrize("path", ["a.js", "a.ts", "a.tsx"])
def test_sync_calls_in_async_functions_are_found(tmp_path, path):
    with graph_of(tmp_path, {path: JAVASCRIPT_CALLS}) as index:
        found = [(one.line, one.call, one.function, one.certain) for one in index.facts(path).blocking]
    assert found == [
        (7, "fs.readFileSync", "outer", True),
        (8, "zlib.gunzipSync", "outer", True),
        (9, "child_process.execSync", "outer", True),
        (10, "db.runSync", "outer", False),
        (14, "fs.existsSync", "arrow", True),
        (15, "this.loadSync", "m", False),
    ]


def test_a_missing_grammar_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(parsing.GRAMMARS, "python", ("tree_sitter_not_there", "language"))
    parsing.grammar.cache_clear()
    with pytest.raises(MissingExtraError, match=r"preloader\[workspace\]"), graph_of(tmp_path, {"a.py": "import b\n"}):
        pass
    parsing.grammar.cache_clear()
