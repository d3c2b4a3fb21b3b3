# `make demo` and `make test` do everything on a machine that has Python 3.11 or newer, and make.

# The first Python that is new enough.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
LOWEST := $(VENV)/lowest
BENCH := $(VENV)/bench
PROCESSES := tests/cli tests/stores tests/testing tests/chatgpt_async tests/pool_ledgers tests/documentation tests/examples tests/notebook
OF_NEWER := tests/documentation tests/examples tests/notebook/test_jupyterlab.py tests/notebook/test_notebooks.py tests/test_benchmarks.py
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo docs pictures test tests-of-processes tests-of-modules test-lowest reliability fuzz audit format lint types imports tests bench bench-check clean help

help:
	@echo "make demo         a threaded, streamed conversation with the embedded server"
	@echo "make test         every check: format, lint, types, imports, tests, coverage"
	@echo "make format       mend what ruff can mend"
	@echo "make docs         the documentation, in build/docs"
	@echo "make pictures     docs/pictures anew"
	@echo "make bench        the benchmarks"
	@echo "make bench-check  whether anything costs more than it did, against stored ratios"
	@echo "make reliability  docs/reliability.md anew, from a run of the tests in tests/reliability"
	@echo "make fuzz         10,000 examples of each property, and atheris on the decoders"
	@echo "make test-lowest  the tests with the lowest versions that the metadata allows"
	@echo "make audit        known vulnerabilities of the lowest and the installed versions (needs the network)"
	@echo "make clean        remove the environment and what was built"

demo: $(VENV)/.installed
	@$(BIN)/chatgpt demo

docs: $(VENV)/.installed-dev
	$(BIN)/python -m sphinx -W --keep-going -n -b html docs build/docs

pictures: $(VENV)/.installed-dev
	$(BIN)/python docs/pictures/draw.py
	$(BIN)/python -m benchmarks.plots

test: lint types imports tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# Two halves at once, one for each core of a small machine; then the tests of deadlines, which want to be alone.
# The coverage of the core is asked for on its own: it holds every decision.
tests: $(VENV)/.installed-dev
	$(BIN)/coverage erase
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target tests-of-processes tests-of-modules
	$(BIN)/coverage run -m pytest tests/reliability
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include 'chatgpt/core/*' --fail-under 95
	$(BIN)/coverage report --fail-under 90

tests-of-processes:
	$(BIN)/coverage run -m pytest $(PROCESSES)

tests-of-modules:
	$(BIN)/coverage run -m pytest $(addprefix --ignore ,$(PROCESSES) tests/reliability)

reliability: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/reliability --reliability-page docs/reliability.md

# atheris is not for every machine, so it is no part of `dev`.
fuzz: $(VENV)/.installed-dev
	$(PIP_INSTALL) atheris
	FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/reliability/test_mutations.py
	$(BIN)/python -m fuzzing --seconds 60

# What the documentation, the examples and the benchmarks need is newer, and no user's: their tests are left out.
test-lowest: $(VENV)/.installed-dev
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/python -m tests.lowest > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' --constraint $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pytest -p no:cacheprovider tests $(addprefix --ignore ,$(OF_NEWER))

# Its exit code: 0, nothing is known; 1, something is; 2, the advisories could not be asked.
audit: $(VENV)/.installed-dev
	$(PIP_INSTALL) pip-audit
	$(BIN)/python -m tests.audit

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Everything in one command: it needs the network once, about ten minutes, and a machine that has nothing else to do. npm
# chatgpt is compared where Node.js and npm are. BENCH_OPTIONS='--rounds 3' makes it shorter (python -m benchmarks.peers --help).
bench: $(BENCH)/.installed
	@if ! command -v node >/dev/null || ! command -v npm >/dev/null; then \
		echo "There is no Node.js with npm: npm chatgpt is left out."; \
	elif [ ! -d $(BENCH)/npm/node_modules/chatgpt ]; then \
		npm install --silent --no-audit --no-fund --prefix $(BENCH)/npm chatgpt@5.2.5 || \
			echo "npm chatgpt could not be installed: it is left out."; \
	fi
	$(BENCH)/bin/python -m benchmarks.peers --npm $(BENCH)/npm $(BENCH_OPTIONS)
	$(BENCH)/bin/python -m benchmarks.plots
	$(BENCH)/bin/python benchmarks/long_thread.py
	$(BENCH)/bin/python benchmarks/stores.py
	$(BENCH)/bin/python benchmarks/command_start.py

# What is compared, beside this package, and what the three at the end need of it.
$(BENCH)/.installed: $(VENV)/.created pyproject.toml
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench,cli,redis]'
	@touch $@

# Its exit code: 0, no ratio is worse than the stored one by more than is allowed; 1, one is; 2, they could not be counted.
bench-check: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.check

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(PIP_INSTALL) --editable '.[cli]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.installed
