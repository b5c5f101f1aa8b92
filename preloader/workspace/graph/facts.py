"""What one source file says of itself: its imports, its definitions, and what blocks in its asynchronous code.

All of it follows from the file's bytes alone, so it is kept by their hash and outlives moves of other files; what the
imports lead to follows from the workspace, and is found by the resolvers.
"""

from __future__ import annotations

from msgspec import Struct


class Import(Struct, frozen=True, array_like=True, omit_defaults=True):
    """One import as it is written.

    Attributes:
        module: What it names: ``a.b``, ``./lib/x``, ``example.org/mod/pkg``, ``crate::a::b``, ``java.util.List``.
        names: What is taken out of it, under its own name there; ``*`` for all. Empty where the module itself is meant.
        line: The first line of the statement, from 1.
        end_line: Its last line.
        level: Python's leading dots.
        exported: Whether what is taken is offered on (``export … from``, ``pub use``, any import of Python).
        module_file: Whether it declares a module of its own file (Rust's ``mod x;``, its ``#[path]`` in `module`).
    """

    module: str
    names: tuple[str, ...] = ()
    line: int = 0
    end_line: int = 0
    level: int = 0
    exported: bool = False
    module_file: bool = False


class Definition(Struct, frozen=True, array_like=True, omit_defaults=True):
    """Something that a file defines under a name.

    Attributes:
        name: Its name.
        kind: ``class``, ``function``, ``method``, ``constant``, ``type``, ``interface``, ``module`` or ``macro``.
        line: Its first line, from 1.
        end_line: Its last line.
        parent: The class or type that it belongs to, if any.
    """

    name: str
    kind: str
    line: int
    end_line: int
    parent: str = ""


class BlockingCall(Struct, frozen=True, array_like=True, omit_defaults=True):
    """A call that blocks the thread.

    Attributes:
        line: Where, from 1.
        call: What is called, by its full name where the imports tell it: ``time.sleep``; with what that calls in turn,
            where that is what blocks: ``load: open``.
        function: The function around it.
        certain: Whether the imports prove it; otherwise the method's name alone speaks for it.
    """

    line: int
    call: str
    function: str
    certain: bool = True


class HelperCall(Struct, frozen=True, array_like=True):
    """A call that an asynchronous function makes of another that may be of the workspace, without awaiting it.

    Attributes:
        line: Where, from 1.
        name: Its full name as the imports tell it; ``.name`` for one of this file, ``self.name`` for a method.
        function: The asynchronous function around it.
    """

    line: int
    name: str
    function: str


class FileFacts(Struct, frozen=True, array_like=True, omit_defaults=True):
    """What was read from one file.

    Attributes:
        language: ``python``, ``javascript``, ``typescript``, ``tsx``, ``go``, ``rust`` or ``java``.
        imports: Its imports, in order.
        definitions: Its definitions, in order.
        blocking: Calls that block within asynchronous functions.
        helpers: Calls that block within other functions (Python).
        calls: What asynchronous functions call of those, perhaps of other files (Python).
        uses: Names that may be defined by other files of the same package (Go, Java); paths that may begin at another
            crate (Rust).
        package: The package that it says it belongs to (Go, Java).
        has_errors: Whether a part of it could not be parsed.
        has_tests: Whether it holds tests beside other code (Rust's ``#[cfg(test)]``).
    """

    language: str
    imports: tuple[Import, ...] = ()
    definitions: tuple[Definition, ...] = ()
    blocking: tuple[BlockingCall, ...] = ()
    helpers: tuple[BlockingCall, ...] = ()
    calls: tuple[HelperCall, ...] = ()
    uses: tuple[str, ...] = ()
    package: str = ""
    has_errors: bool = False
    has_tests: bool = False
