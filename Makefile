# Every target sets up what it needs. On a fresh machine: Python 3.11 or newer, git and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
AWSCLI := .venv-awscli/.ready

.PHONY: help demo test test-quick lint format docs docs-check bench dist torture lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY) ## watch audit events go through a pipeline into (a local) CloudWatch Logs
	@$(BIN)/auditflow demo

test: $(READY) $(AWSCLI) ## run all tests, real processes included (some minutes)
	$(BIN)/pytest

test-quick: $(READY) ## run the tests that take less than a second each
	$(BIN)/pytest -m "not slow"

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

$(READY): requirements/dev.txt requirements/tools.txt pyproject.toml
	@echo "Setting up .venv ..."
	@test -d .venv || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

# The AWS command line brings a botocore of its own, so it lives in an environment of its own.
$(AWSCLI): requirements/awscli.txt $(READY)
	@echo "Setting up .venv-awscli ..."
	@test -d .venv-awscli || $(PYTHON) -m venv .venv-awscli
	@VIRTUAL_ENV=.venv-awscli $(BIN)/uv pip install --quiet --require-hashes -r requirements/awscli.txt
	@touch $@
