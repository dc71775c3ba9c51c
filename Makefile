# The project's daily work. Needs Python 3.11 or newer and make; everything else is installed into .venv

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
PYTEST := $(PY) -m pytest -n auto --dist worksteal
PYTEST_ARGS ?=
# what models are built as, and where to: a folder for each, and models.json beside them
RECIPES := models/artmodels/recipes
OUT ?= ../public/models
LEVEL ?= q4
TARGET ?= web
SHARD_SIZE ?= 100MB
BUILD = $(VENV)/bin/artstore build --level $(LEVEL) --target $(TARGET) --shard-size $(SHARD_SIZE)
# what forks thousands of children: apart, as each carries all that any test beside it imports
FORKING := tests/crash tests/faults tests/machines tests/soak

# what thousands of processes import is compiled once
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup install demo build-all build-dev-polyglot test soak mutants check bench bench-gpu docs clean
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-18s  %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.stamp-dev ## Make .venv with the package, its extras and the tools; nothing to do when up to date

install: $(VENV)/.stamp-foundry ## Make .venv with the package and what merging, quantizing and evaluating need, no tools

demo: $(VENV)/.stamp-demo ## Train a real model, kill the trainer, restore and go on
	$(PY) -m artmodels.demo

build-all: install ## Build all recipes that are shipped into OUT, each in a folder; LEVEL=q4 SHARD_SIZE=100MB
	$(BUILD) --all $(RECIPES) --out $(OUT)

build-dev-polyglot: install ## Build dev-polyglot-v2 into a folder of OUT; its models are brought by artstore fetch first
	$(BUILD) $(RECIPES)/dev-polyglot-v2.yml --out $(OUT)/dev-polyglot-v2-$(LEVEL)

test: $(VENV)/.stamp-dev ## Run all tests, with a real Postgres and real S3 servers
	$(PYTEST) $(or $(PYTEST_ARGS),$(FORKING))
	$(if $(PYTEST_ARGS),,$(PYTEST) $(FORKING:%=--ignore=%) --ignore=tests/integrations)
	# apart too, as every process that a test forks would carry the trainers of others
	$(if $(PYTEST_ARGS),,$(PYTEST) tests/integrations)

soak: $(VENV)/.stamp-dev ## Break stores for a long time: 10,000 kills, every call failed, 3,000 power cuts, longer histories
	SOAK=1 $(PY) -m pytest $(or $(PYTEST_ARGS),$(FORKING) tests/model tests/core tests/catalog tests/ops tests/test_replay.py)

mutants: $(VENV)/.stamp-dev ## Seed mistakes in the protocol and see each caught by a test
	$(PY) -m tests.mutants

check: $(VENV)/.stamp-dev ## Lint, check the format, the types and the floors
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.stamp-dev ## Measure against peers and write docs/benchmarks.md
	$(PY) benchmarks/run.py

bench-gpu: $(VENV)/.stamp-dev ## Measure on a GPU, where there is one, and write docs/benchmarks-gpu.json
	$(PY) benchmarks/gpu.py

docs: $(VENV)/.stamp-dev ## Write docs/cli.md anew from the command itself
	$(PY) -m artstore.reference > docs/cli.md.new
	mv docs/cli.md.new docs/cli.md

clean: ## Remove .venv, caches and what was built
	rm -rf $(VENV) .demo dist build .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.stamp-foundry: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[foundry]'
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[demo,dev]'
	@touch $(VENV)/.stamp-demo $@
