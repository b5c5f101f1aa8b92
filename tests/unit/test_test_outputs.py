"""What is understood of test runs as they are printed: names with spaces, the same name twice, builds that fail."""

import pytest

from preloader.workspace.test_output import Failure, parse_test_output

OUTPUTS = {
    "pytest: errors, names twice, raised by a dependency": (
        """\
============================= test session starts ==============================
__________________ ERROR collecting tests/test_broken.py ___________________
tests/test_broken.py:1: in <module>
    import nothere
E   ModuleNotFoundError: No module named 'nothere'
_______________________ ERROR at setup of test_same _________________________
tests/conftest.py:5: RuntimeError
___________________________________ test_same ____________________________________
tests/test_a.py:14:
src/shop/cart.py:22: ValueError
___________________________________ test_same ____________________________________
tests/test_b.py:7:
../.venv/lib/python3.12/site-packages/requests/api.py:9: ConnectionError
=========================== short test summary info ============================
FAILED tests/test_a.py::test_same - ValueError: x
FAILED tests/test_b.py::test_same - requests.ConnectionError
ERROR tests/test_broken.py
ERROR tests/test_c.py::test_same - RuntimeError
=================== 3 failed, 2 errors in 0.12s ======================
""",
        [
            Failure("tests/test_a.py::test_same", "src/shop/cart.py", 22, "ValueError: x"),
            Failure("tests/test_b.py::test_same", "tests/test_b.py", 7, "requests.ConnectionError"),
            Failure("tests/test_broken.py", "tests/test_broken.py", 1),
            Failure("tests/test_c.py::test_same", "tests/conftest.py", 5, "RuntimeError"),
        ],
    ),
    "pytest: a parameter with spaces and dots": (
        """\
____________________________ TestA.test_b[1.5-a b] ____________________________
tests/test_a.py:10: AssertionError
FAILED tests/test_a.py::TestA::test_b[1.5-a b] - assert 1 == 2
=================== 1 failed in 0.12s ======================
""",
        [Failure("tests/test_a.py::TestA::test_b[1.5-a b]", "tests/test_a.py", 10, "assert 1 == 2")],
    ),
    "unittest: raised in the standard library": (
        """\
ERROR: test_b (tests.test_x.TestA)
Traceback (most recent call last):
  File "/work/tests/test_x.py", line 9, in test_b
    load()
  File "/usr/lib/python3.12/json/decoder.py", line 355, in raw_decode
    raise JSONDecodeError("Expecting value", s, err.value) from None
json.decoder.JSONDecodeError: Expecting value

Ran 1 test in 0.001s
""",
        [
            Failure(
                "tests.test_x.TestA.test_b", "/work/tests/test_x.py", 9, "json.decoder.JSONDecodeError: Expecting value"
            )
        ],
    ),
    "jest: two files": (
        """\
FAIL src/a.test.ts
  ● Cart \u203a adds

    expect(received).toBe(expected)

      at Object.<anonymous> (src/a.test.ts:5:17)

FAIL src/b.test.ts
  ● Cart \u203a adds

    thrown: "Exceeded timeout"

      at Object.<anonymous> (src/b.test.ts:6:1)

FAIL src/c.test.ts
  ● Test suite failed to run

    Cannot find module 'left-pad' from 'src/c.ts'

      at Object.<anonymous> (src/c.ts:1:1)

FAIL src/d.test.ts
  ● Console

    console.log src/d.ts:3

  ● Test suite failed to run

    SyntaxError: Unexpected token

Test Suites: 4 failed, 4 total
""",
        [
            Failure("Cart \u203a adds", "src/a.test.ts", 5, "expect(received).toBe(expected)"),
            Failure("Cart \u203a adds", "src/b.test.ts", 6, 'thrown: "Exceeded timeout"'),
            Failure("src/c.test.ts", "src/c.ts", 1, "Cannot find module 'left-pad' from 'src/c.ts'"),
            Failure("src/d.test.ts", "src/d.test.ts", 0, "SyntaxError: Unexpected token"),
        ],
    ),
    "vitest: a suite that cannot be loaded": (
        """\
 RUN  v2.1.0 /repo

 FAIL  src/broken.test.ts [ src/broken.test.ts ]
Error: Failed to resolve import "nope" from "src/broken.test.ts".
 \u276f TransformPluginContext._formatError node_modules/vite/dist/node/chunks/dep.js:49860:41

 Test Files  1 failed (1)
""",
        [
            Failure(
                "src/broken.test.ts",
                "src/broken.test.ts",
                0,
                'Error: Failed to resolve import "nope" from "src/broken.test.ts".',
            )
        ],
    ),
    "go: -v": (
        """\
=== RUN   TestTotal
=== RUN   TestTotal/empty
    cart_test.go:12: got 1, want 2
=== RUN   TestOk
    ok_test.go:3: said, and no failure
--- PASS: TestOk (0.00s)
--- FAIL: TestTotal (0.00s)
    --- FAIL: TestTotal/empty (0.00s)
FAIL\texample.org/shop/cart\t0.003s
""",
        [Failure("TestTotal"), Failure("TestTotal/empty", "cart_test.go", 12, "got 1, want 2")],
    ),
    "go: testify, a panic, a build": (
        """\
# example.org/shop/cart [example.org/shop/cart.test]
cart/cart.go:5:2: not enough arguments in call to foo
\thave ()
cart/cart_test.go:8:9: undefined: bar
--- FAIL: TestX (0.00s)
    x_test.go:9:
        \tError Trace:\t/repo/x_test.go:9
        \tError:      \tNot equal:
--- FAIL: TestP (0.00s)
panic: boom [recovered]
\tpanic: boom

testing.tRunner.func1.2({0x5, 0x6})
\t/usr/lib/go/src/testing/testing.go:1545 +0x238
example.org/p.explode(...)
\t/repo/p.go:7
FAIL\texample.org/p\t0.005s
""",
        [
            Failure("cart/cart.go:5", "cart/cart.go", 5, "not enough arguments in call to foo"),
            Failure("cart/cart_test.go:8", "cart/cart_test.go", 8, "undefined: bar"),
            Failure("TestX", "x_test.go", 9, "Not equal:"),
            Failure("TestP", "/repo/p.go", 7, "boom [recovered]"),
        ],
    ),
    "cargo: a build, a doc test": (
        """\
warning: unused variable
  --> src/lib.rs:1:1
error[E0425]: cannot find function `foo` in this scope
  --> src/lib.rs:5:9
error: could not compile `shop` (lib test) due to 1 previous error
test src/lib.rs - total (line 7) ... FAILED
test tests::panics - should panic ... FAILED
""",
        [
            Failure("src/lib.rs:5", "src/lib.rs", 5, "cannot find function `foo` in this scope"),
            Failure("src/lib.rs - total (line 7)", "src/lib.rs", 7),
            Failure("tests::panics"),
        ],
    ),
    "maven: an inherited test, a build": (
        """\
[ERROR] /repo/src/main/java/org/acme/Cart.java:[5,9] package org.foo does not exist
[ERROR]   CartTest>BaseTest.totals:14 expected: <2>
[INFO] BUILD FAILURE
""",
        [
            Failure(
                "/repo/src/main/java/org/acme/Cart.java:5",
                "/repo/src/main/java/org/acme/Cart.java",
                5,
                "package org.foo does not exist",
            ),
            Failure("CartTest>BaseTest.totals", "BaseTest.java", 14, "expected: <2>"),
        ],
    ),
    "gradle: whole stack traces, a build": (
        """\
> Task :compileJava FAILED
/repo/src/main/java/org/acme/Cart.java:5: error: cannot find symbol
> Task :test FAILED

CartTest > totals() FAILED
    org.opentest4j.AssertionFailedError: expected: <2> but was: <1>
        at app//org.junit.jupiter.api.AssertionFailureBuilder.build(AssertionFailureBuilder.java:151)
        at java.base/java.util.ArrayList.forEach(ArrayList.java:5)
        at app//org.acme.CartTest.totals(CartTest.java:14)

BUILD FAILED in 1s
""",
        [
            Failure(
                "/repo/src/main/java/org/acme/Cart.java:5",
                "/repo/src/main/java/org/acme/Cart.java",
                5,
                "cannot find symbol",
            ),
            Failure(
                "CartTest > totals()",
                "CartTest.java",
                14,
                "org.opentest4j.AssertionFailedError: expected: <2> but was: <1>",
            ),
        ],
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_run_as_it_is_printed(name):
    text, failures = OUTPUTS[name]
    report = parse_test_output(text)
    assert report.framework == name.partition(":")[0]
    assert list(report.failures) == failures
