"""The public face: its names, what importing it costs, and how tests treat warnings."""

import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

import preloader

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

PUBLIC = [
    "BundleError",
    "ClosedError",
    "ComponentRegistry",
    "ConfigurationError",
    "Context",
    "Cost",
    "Decision",
    "DecisionPolicy",
    "Event",
    "EvictionPolicy",
    "FileProvider",
    "HistoryError",
    "LoadError",
    "Loaded",
    "Need",
    "OnlinePredictor",
    "Prediction",
    "Predictor",
    "Preload",
    "PreloadManager",
    "PreloaderError",
    "Provider",
    "Settings",
    "Statistics",
    "SyncPreloadManager",
    "Tier",
    "UnknownResourceError",
    "load_settings",
]

HEAVY = {
    "coremltools",
    "matplotlib",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "rich",
    "sklearn",
    "torch",
    "typer",
}


def test_the_public_names_are_these_and_few():
    assert preloader.__all__ == PUBLIC
    assert len(PUBLIC) <= 30


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(preloader, name).__doc__


def test_importing_it_imports_nothing_heavy():
    program = "import sys, preloader; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert not HEAVY & set(run.stdout.split())


def test_warnings_are_errors():
    options = tomllib.loads(PYPROJECT.read_text())["tool"]["pytest"]["ini_options"]
    assert options["filterwarnings"] == ["error"]
    with pytest.raises(UserWarning):
        warnings.warn("this fails the test that caused it", UserWarning, stacklevel=1)
