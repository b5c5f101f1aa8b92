"""The contracts that import-linter checks leave no module out, and the map shows the layers that they state."""

import re
import tomllib
from pathlib import Path

import preloader

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
MODULES = {
    path.stem
    for path in Path(preloader.__file__).parent.iterdir()
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
}


def contract(kind):
    return next(one for one in CONTRACTS if one["type"] == kind)


def test_every_module_has_a_layer():
    layers = [set(re.findall(r"\w+", layer)) for layer in contract("layers")["layers"]]
    assert sum(map(len, layers)) == len(set.union(*layers))
    assert set.union(*layers) == MODULES


def test_all_that_is_below_learning_is_kept_from_the_training_stack():
    forbidden = contract("forbidden")
    assert set(forbidden["source_modules"]) == {f"preloader.{name}" for name in MODULES - {"cli", "learning"}}
    assert {"torch", "sklearn", "safetensors", "joblib", "dask", "distributed"} <= set(forbidden["forbidden_modules"])


def test_the_map_names_every_module_in_the_same_layer():
    text = (ROOT / "docs/architecture.md").read_text()
    drawn = next(block for block in text.split("```") if block.strip().startswith("cli\n"))
    shown = [set(re.findall(r"\w+", line)) - {"with"} for line in drawn.strip().splitlines()]
    assert shown == [set(re.findall(r"\w+", layer)) for layer in contract("layers")["layers"]]
