# `make demo` and `make test` do everything on a machine that has Python 3.11 or newer, and make.

# The first Python that is new enough.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test format lint types imports tests bench clean help

help:
	@echo "make demo    a threaded, streamed conversation with the embedded server"
	@echo "make test    every check: format, lint, types, imports, tests, coverage"
	@echo "make format  mend what ruff can mend"
	@echo "make bench   the benchmarks"
	@echo "make clean   remove the environment and what was built"

demo: $(VENV)/.installed
	@$(BIN)/python examples/conversation.py --embedded

test: lint types imports tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# The coverage of the core is asked for on its own: it holds every decision.
tests: $(VENV)/.installed-dev
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report --include 'chatgpt/core/*' --fail-under 95
	$(BIN)/coverage report --fail-under 90

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/long_thread.py
	$(BIN)/python benchmarks/stores.py

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.installed
