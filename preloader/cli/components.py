"""``preloader components``: check a component registry, and see how it would be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import rich
import typer
from rich.table import Table

from preloader.components.plan import Plan
from preloader.components.registry import ComponentRegistry
from preloader.stages import arrows

_MOST_SHOWN = 40

_Registry = Annotated[Path, typer.Argument(metavar="REGISTRY", help="A registry's TOML file.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


def register(app: typer.Typer) -> None:
    """Add ``preloader components`` to the application."""
    group = typer.Typer(help="Check a component registry, and plan how it is loaded.", no_args_is_help=True)
    for command in (check, plan):
        group.command()(command)
    app.add_typer(group, name="components")


def check(registry: _Registry, as_json: _Json = False) -> None:
    """Check that every component can be read and loaded: fields, requirements, circles, conflicts."""
    components = ComponentRegistry.from_toml(registry)
    graph = components.graph()
    size = sum(components[name].bytes for name in components)
    conflicts = sum(len(graph.conflicts(name)) for name in components) // 2
    figures = {
        "registry": str(registry),
        "components": len(components),
        "stages": len(graph.stages()),
        "conflicts": conflicts,
        "bytes": size,
        "load_s": sum(components[name].load_s for name in components),
    }
    if as_json:
        print(msgspec.json.encode(figures).decode())
        return
    _print(
        f"{registry} is in order: {len(components):,} components in {figures['stages']} stages, "
        f"{conflicts} conflict{'s'[: conflicts != 1]}, {size / 1e6:,.0f} MB, "
        f"{figures['load_s']:.2f} s one after the other."
    )


def plan(
    registry: _Registry,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAMES]", help="What is to be ready; everything unless given.")
    ] = None,
    workers: Annotated[int, typer.Option(help="How many loads run at once.")] = 3,
    as_json: _Json = False,
) -> None:
    """Show in which order and stages components load, how long that takes, and what it hangs on."""
    planned = ComponentRegistry.from_toml(registry).graph().plan(names or None, workers=workers)
    if as_json:
        print(msgspec.json.encode(msgspec.to_builtins(planned) | {"bound_s": planned.bound_s}).decode())
        return
    rich.get_console().print(_table(planned))
    _print(
        f"{planned.makespan_s:.2f} s with {workers} worker{'s'[: workers != 1]}; {planned.total_s:.2f} s one after the "
        f"other. No schedule is shorter than {planned.bound_s:.2f} s."
    )
    if planned.conflicts:
        pairs = ", ".join(f"{one} and {other}" for one, other in planned.conflicts)
        _print(f"Not all of it can be there at once: these conflict: {pairs}.")
    _print(f"It hangs on {arrows(planned.critical_path)}: {planned.critical_path_s:.2f} s.")


def _table(planned: Plan) -> Table:
    stage = {name: at for at, names in enumerate(planned.stages, start=1) for name in names}
    table = Table(box=None)
    for title in ("start s", "end s", "worker", "stage"):
        table.add_column(title, justify="right")
    table.add_column("component")
    for load in planned.loads[:_MOST_SHOWN]:
        figures = f"{load.start_s:.2f}", f"{load.end_s:.2f}", str(load.worker + 1), str(stage[load.name])
        table.add_row(*figures, load.name)
    if len(planned.loads) > _MOST_SHOWN:
        table.add_row("…", "", "", "", f"{len(planned.loads) - _MOST_SHOWN:,} more; --json has all")
    return table


def _print(sentence: str) -> None:
    rich.get_console().print(sentence, markup=False, highlight=False, soft_wrap=True)
