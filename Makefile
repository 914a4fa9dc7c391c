# Everything starts here. A machine with Python 3.11 or later and make needs nothing before it.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help up down logs test check clean

help: ## Show what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: $(STAMP) ## Start a local cluster and wait until it is ready
	@$(BIN)/python -m deploy.cluster up

down: $(STAMP) ## Stop exactly what `make up` started
	@$(BIN)/python -m deploy.cluster down

logs: $(STAMP) ## Follow the logs of the local cluster
	@$(BIN)/python -m deploy.cluster logs

test: $(STAMP) ## Run all tests (they start and stop their own processes)
	@$(BIN)/python -m pytest -q

check: $(STAMP) ## Lint, format, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

clean: down ## Stop the cluster, then remove the virtual environment and everything in var/
	@rm -rf $(VENV) var

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "found $$($(PYTHON) --version 2>&1), expected Python 3.11 or later; set PYTHON=…"; exit 78; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "this Python cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 78; }
	@echo "installing into $(VENV) (once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
