# `make` on a fresh machine needs Python 3.11 or later and nothing else; everything goes into .venv.
#
#   PYTHON=python3.12   which Python to make .venv with
#   ARGS="..."          handed on to the program that a target runs
#   MINUTES=5           how long make soak goes on

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
MINUTES ?= 1

BIN := $(VENV)/bin
PIP_INSTALL = -m pip install -qq --disable-pip-version-check

# The lower bounds of the dependencies are older than some Pythons, so they are tried with the oldest that is there.
LOWEST_VENV ?= .venv-lowest
LOWEST_PYTHON ?= $(shell python3.11 -c "import sys; print(sys.executable)" 2>/dev/null || echo $(PYTHON))

EXTRAS_demo := cli
EXTRAS_test := bench,cli,interop,test
EXTRAS_lint := bench,cli,interop,lint,test
EXTRAS_docs := docs
EXTRAS_bench := bench,cli

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-lowest lint docs bench soak coverage combinations clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.ready-demo ## hash and file the standard library in three ways, and compare
	$(BIN)/python -m tpool_asyncio demo $(ARGS)

test: $(VENV)/.ready-test ## the tests, with branch coverage
	$(BIN)/python -m pytest --cov --cov-branch --cov-report=term $(ARGS)

test-lowest: $(LOWEST_VENV)/.ready ## the tests, with the oldest dependencies that pyproject.toml allows
	$(LOWEST_VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/.ready-lint ## style, format, types, and which floor imports which
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

docs: $(VENV)/.ready-docs ## the documentation, into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -n -b html docs docs/_build/html $(ARGS)

bench: $(VENV)/.ready-bench ## the measurements, with the targets they are held against
	$(BIN)/python benchmarks/calls.py $(ARGS)
	$(BIN)/python benchmarks/green_calls.py
	$(BIN)/python benchmarks/bridge.py
	$(BIN)/python benchmarks/proxy.py
	$(BIN)/python benchmarks/executors.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/web.py
	$(BIN)/python benchmarks/green_threads.py
	$(BIN)/python benchmarks/million.py
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/wakeups.py

soak: $(VENV)/.ready-test ## everything at once for MINUTES=1 or more, every call accounted for
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES) $(ARGS)

coverage: $(VENV)/.ready-test ## the tests, and an HTML report of the lines they miss in htmlcov
	$(BIN)/python -m pytest --cov --cov-branch --cov-report=term --cov-report=html $(ARGS)

combinations: $(VENV)/.ready-test ## docs/combinations.md, from the tests that pass
	$(BIN)/python -m pytest --quiet --combinations=combinations.json -m combination $(ARGS)
	$(BIN)/python .ci/combinations.py combinations.json

clean: ## remove everything that was made here, .venv too
	rm -rf $(VENV) $(LOWEST_VENV) .nox build dist docs/_build htmlcov .coverage .coverage.* coverage.xml combinations.json
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find tpool_asyncio tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of extras, so that what a target does not need is not installed for it.

$(VENV)/.ready-%: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python $(PIP_INSTALL) --editable ".[$(EXTRAS_$*)]"
	@touch $@

$(VENV)/pyvenv.cfg:
	$(call new-venv,$(PYTHON),$(VENV))

$(LOWEST_VENV)/.ready: pyproject.toml .ci/lowest.py | $(VENV)/.ready-test $(LOWEST_VENV)/pyvenv.cfg
	$(BIN)/python .ci/lowest.py bench cli interop test --python $(LOWEST_VENV)/bin/python > $(LOWEST_VENV)/pins.txt
	@cat $(LOWEST_VENV)/pins.txt
	$(LOWEST_VENV)/bin/python $(PIP_INSTALL) --requirement $(LOWEST_VENV)/pins.txt
	$(LOWEST_VENV)/bin/python $(PIP_INSTALL) --no-deps --editable .
	@touch $@

$(LOWEST_VENV)/pyvenv.cfg:
	$(call new-venv,$(LOWEST_PYTHON),$(LOWEST_VENV))

define new-venv
	@$(1) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	    echo "Python 3.11 or later is needed, and $(1) is not that; say which one to use: make PYTHON=python3.12"; \
	    exit 1; \
	}
	$(1) -m venv $(2)
endef
