# What a contributor does, one sentence a target. `make` alone lists the sentences.

PYTHON  ?= python3
WORKERS ?= 2

PYTHON_VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)

# The default interpreter has its environment in .venv, any other in one of its own (.venv-3.13),
# so changing between interpreters rebuilds nothing.
ifeq ($(PYTHON),python3)
VENV := .venv
else
VENV := .venv-$(basename $(PYTHON_VERSION))
endif

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# Stamps. The version is part of the name: an environment made by another Python is not ready.
READY := $(VENV)/ready-$(PYTHON_VERSION)
PEERS := $(VENV)/ready-$(PYTHON_VERSION)-peers

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types contracts check bench format clean

help: ## list what you can do
	@echo "Usage: make <target> [PYTHON=python3.13] [WORKERS=4]"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Each target sets up what it needs. The environment is .venv; another PYTHON gets its own,"
	@echo "named after its version (.venv-3.13). Now: PYTHON=$(PYTHON), environment $(VENV)."

setup: $(READY) ## make the environment, every version pinned by constraints.txt

demo: $(READY) ## train a network on handwritten digits
	$(BIN)/python examples/digits.py

test: export JAX_PLATFORMS ?= cpu
test: $(READY) ## run the tests and every example in docstrings, docs and README
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(READY) ## look for mistakes and unformatted code
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## check the types, strictly
	$(BIN)/mypy

contracts: $(READY) ## check that imports only point downwards and never in a circle
	$(BIN)/lint-imports

check: test lint types contracts ## do everything a change must pass

bench: export JAX_PLATFORMS ?= cpu
bench: $(PEERS) ## measure the claims against the peers, all in one run
	$(BIN)/python benchmarks/dispatch.py
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/eager.py
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/models.py
	$(BIN)/python benchmarks/checkpoint.py

format: $(READY) ## format the code and repair what can be repaired
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environments, caches and build products
	rm -rf .venv .venv-[0-9]* build dist
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Ansatz needs Python 3.11 or newer: make <target> PYTHON=python3.13")'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --build-constraint constraints.txt --editable '.[dev]'
	@touch $@

$(PEERS): $(READY)
	$(PIP) --build-constraint constraints.txt --editable '.[peers]'
	@touch $@
