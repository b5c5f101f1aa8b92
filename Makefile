# Every target sets up what it needs: a venv in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST_ARGS ?=

.PHONY: install demo test check bench verify-native clean
install: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt $(wildcard native/*.[ch] native/binding/*.[ch] native/kernel/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit("preloader needs Python 3.11 or newer; this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -qq --constraint constraints.txt --group dev --editable .
	-$(BIN)/python -m pip install -qq --constraint constraints.txt --only-binary :all: --no-deps --group reference  # it reads traces from a cloud, which no test does
	@touch $@

demo: install  ## learn from the best history at hand, replay the rest, show what preloading was worth
	$(BIN)/preloader demo $(DEMO_ARGS)

test: install  ## the whole suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: install  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: install  ## every benchmark, as ratios against a peer of the same run
	$(BIN)/python -m benchmarks

verify-native: install  ## the ring under sanitizers, model checkers and mutation; scripts/install_verify_packages.sh first
	$(BIN)/python -m native.verify $(VERIFY_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
