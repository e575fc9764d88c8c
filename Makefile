# `make` on a fresh machine needs Python 3.11 or later and nothing else; everything goes into .venv.
#
#   PYTHON=python3.12   which Python to make .venv with
#   ARGS="..."          handed on to the program that a target runs
#   PROCESSES=4         in how many processes the tests run; 0 is this one, for a debugger
#   MINUTES=5           how long make soak goes on
#   BASE=v0.1.0         what make bench-compare holds the files against
#   FIGURES="..."       the files for make plots and make tables, by default all that make bench has written

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PROCESSES ?= 3
MINUTES ?= 1
BASE ?=
FIGURES ?= $(wildcard benchmarks/results/all-*.json)

BIN := $(VENV)/bin
PYTEST = -m pytest -n $(PROCESSES) --dist worksteal
PIP_INSTALL = -m pip install -qq --disable-pip-version-check

# The lower bounds of the dependencies are older than some Pythons, so they are tried with the oldest that is there.
LOWEST_VENV ?= .venv-lowest
LOWEST_PYTHON ?= $(shell python3.11 -c "import sys; print(sys.executable)" 2>/dev/null || echo $(PYTHON))

EXTRAS_demo := cli
EXTRAS_test := bench,cli,interop,plots,test
EXTRAS_lint := bench,cli,interop,lint,test
EXTRAS_docs := docs
EXTRAS_bench := bench,cli
EXTRAS_plots := bench,plots

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-lowest lint docs bench bench-compare plots tables soak coverage combinations clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.ready-demo ## hash and file the standard library in three ways, and compare
	$(BIN)/python -m tpool_asyncio demo $(ARGS)

test: $(VENV)/.ready-test ## the tests, with branch coverage
	$(BIN)/python $(PYTEST) --cov --cov-branch --cov-report=term $(ARGS)

test-lowest: $(LOWEST_VENV)/.ready ## the tests, with the oldest dependencies that pyproject.toml allows
	$(LOWEST_VENV)/bin/python $(PYTEST) $(ARGS)

lint: $(VENV)/.ready-lint ## style, format, types, and which floor imports which
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

docs: $(VENV)/.ready-docs ## the documentation, into docs/_build/html
	$(BIN)/python -m sphinx -q -W --keep-going -n -b html docs docs/_build/html $(ARGS)
	@echo the pages are in docs/_build/html

bench: $(VENV)/.ready-bench ## the measurements, the targets, and all figures in one file
	$(BIN)/python benchmarks/all.py $(ARGS)

bench-compare: $(VENV)/.ready-bench ## the files as they are beside BASE=revision: faster, slower, or neither
	@test -n "$(BASE)" || { echo "say which revision to compare with: make bench-compare BASE=HEAD~1"; exit 1; }
	$(BIN)/python benchmarks/compare.py $(BASE) $(ARGS)

plots: $(VENV)/.ready-plots ## docs/img/*.svg, from what make bench has written
	@test -n "$(FIGURES)" || { echo "there are no figures yet: make bench"; exit 1; }
	$(BIN)/python benchmarks/plots.py $(FIGURES) $(ARGS)

tables: $(VENV)/.ready-bench ## the tables of docs/figures.md, from what make bench has written
	@test -n "$(FIGURES)" || { echo "there are no figures yet: make bench"; exit 1; }
	$(BIN)/python benchmarks/tables.py $(FIGURES) --page docs/figures.md $(ARGS)

soak: $(VENV)/.ready-test ## everything at once for MINUTES=1 or more, every call accounted for
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES) $(ARGS)

coverage: $(VENV)/.ready-test ## the tests, and an HTML report of the lines they miss in htmlcov
	$(BIN)/python $(PYTEST) --cov --cov-branch --cov-report=term --cov-report=html $(ARGS)

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
