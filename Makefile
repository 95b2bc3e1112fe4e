# Every target sets up what it needs. On a fresh machine: Python 3.11 or newer, git and make.
PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
READY := .venv/.ready
AWSCLI := .venv-awscli/.ready

.PHONY: help demo test test-quick test-long lint format docs docs-check bench dist torture lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(RUNTIME) ## watch audit events go through a pipeline into (a local) CloudWatch Logs
	@$(BIN)/auditflow demo

# Tests mostly wait for processes, so there is one worker more than there are cores.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PARALLEL = --numprocesses $(WORKERS) --dist worksteal

test: $(READY) $(AWSCLI) ## run all tests, real processes included (some minutes)
	$(BIN)/pytest $(PARALLEL) -m "not alone"
	$(BIN)/pytest -m alone

test-quick: $(READY) ## run the tests that take less than a second each
	$(BIN)/pytest $(PARALLEL) -m "not slow and not alone"

test-long: $(READY) ## what `make test` does in short: torture for half an hour, and an hour of fuzzing
	$(BIN)/python -m tests.torture --seconds 1800
	for part in conditions config decode redaction; do $(BIN)/python -m tests.fuzz $$part --seconds 900 || exit 1; done
	AUDITFLOW_LONG_TESTS=1 $(BIN)/pytest -m slow tests/sinks tests/journal tests/ledger

lint: $(READY) ## check style, types and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## regenerate the generated parts of the docs
	$(BIN)/python docs/generate.py

docs-check: $(READY) ## fail when a generated part of the docs is stale
	$(BIN)/python docs/generate.py --check

bench: $(READY) ## measure CPU per event and throughput of a whole `auditflow serve`
	$(BIN)/python benchmarks/run.py

dist: $(READY) ## build wheel and sdist, and run them on every Python there is
	sh deploy/dist.sh

SECONDS ?= 1800
torture: $(READY) ## strike a running `auditflow serve` with random faults for SECONDS=1800
	$(BIN)/python -m tests.torture --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(REPORT),--report $(REPORT))

lock: $(READY) ## pin all dependencies again, with hashes
	sh requirements/lock.sh

clean: ## remove what the other targets made
	rm -rf .venv .venv-awscli dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# What AuditFlow itself needs, which is all that a demo needs.
$(RUNTIME): requirements/runtime.txt requirements/tools.txt pyproject.toml
	@echo "Set-up: a Python environment in .venv ..."
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "Set-up: the installer uv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@echo "Set-up: AuditFlow and the $$(grep -c == requirements/runtime.txt) packages that it needs ..."
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements/runtime.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

$(READY): requirements/dev.txt $(RUNTIME)
	@echo "Set-up: the tools for tests and checks, $$(grep -c == requirements/dev.txt) packages ..."
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

# The AWS command line brings a botocore of its own, so it lives in an environment of its own.
$(AWSCLI): requirements/awscli.txt $(READY)
	@echo "Set-up: the AWS command line in .venv-awscli, which some tests call ..."
	@test -d .venv-awscli || $(PYTHON) -m venv .venv-awscli
	@VIRTUAL_ENV=.venv-awscli $(BIN)/uv pip install --quiet --require-hashes -r requirements/awscli.txt
	@touch $@
