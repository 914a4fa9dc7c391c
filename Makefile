# Everything starts here. A machine with Python 3.11 or later and make needs nothing before it.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Clients that the tests run and that do not fit into the environment above.
CLIENTS := tests/clients
AGENTS  := .venv-agents
FOCUS   := .venv-focus
HEAVY   := var/clients-venv
ORIGINAL := $(CLIENTS)/original
NODE    := $(CLIENTS)/node

# Tests of what starts a cluster, of what measures one, and of what torments one.
TOOLS   := tests/integration/deploy tests/integration/bench tests/chaos

.DEFAULT_GOAL := help
.PHONY: help up down logs test test-tools test-fast compiled test-compiled coverage mutation check hooks chaos mixed clients bench clean

SEEDS ?= 100000
KILLS ?= 100
FUZZ_S ?= 60

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: $(STAMP) ## Start a local cluster and wait until it is ready
	@$(BIN)/python -m deploy.cluster up

down: $(STAMP) ## Stop exactly what `make up` started
	@$(BIN)/python -m deploy.cluster down

logs: $(STAMP) ## Follow the logs of the local cluster
	@$(BIN)/python -m deploy.cluster logs

# What a test compiles is compiled once, also where the machine says otherwise. The order of the files
# is that of tests/conftest.py: xdist's own has those that take long and have few tests at the end.
test: export PYTHONDONTWRITEBYTECODE =
test: $(STAMP) $(AGENTS)/.installed $(FOCUS)/.installed $(NODE)/node_modules/.installed ## Test all that serves (the tests start and stop their own processes)
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder $(TOOLS:%=--ignore=%)

test-tools: export PYTHONDONTWRITEBYTECODE =
test-tools: $(STAMP) ## Test what starts a cluster, measures one, and torments one: make up, the bench, chaos
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder $(TOOLS)

test-fast: $(STAMP) ## Run the unit and property tests, in less than a minute
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/unit tests/property

compiled: $(STAMP) ## Compile what every frame passes through into var/compiled (PYTHONPATH=var/compiled runs it)
	@$(BIN)/python -m deploy.compiled

# The rooms whose modules setup.py compiles, as production runs them.
test-compiled: export RTS_EXPECT_COMPILED = yes
test-compiled: compiled ## Run the tests of frames, meters, connections and relay on the compiled modules
	@PYTHONPATH=$(CURDIR)/var/compiled $(BIN)/python -m pytest -q -n 2 --dist loadfile \
	    -o "pythonpath=var/compiled . tests" tests/unit/test_compiled.py \
	    tests/unit/gateway/test_frames.py tests/unit/gateway/metering tests/unit/gateway/connections tests/unit/gateway/relay \
	    tests/property/gateway/test_frames.py tests/property/gateway/metering tests/property/gateway/connections \
	    tests/integration/gateway/relay tests/integration/gateway/connections

coverage: export COVERAGE_FILE = $(CURDIR)/var/.coverage
coverage: $(STAMP) ## Report branch coverage, real processes included; at least 95 % of each pure module
	@mkdir -p var
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -n 2 --dist loadfile tests/unit tests/property tests/integration
	@$(BIN)/coverage run -m tests.simulation --seeds 100 --jobs 1
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage json -q -o var/coverage.json
	@$(BIN)/python -m checks.covered

mutation: $(STAMP) ## Change what decides about money in some hundred ways; at least 90 % must be noticed
	@rm -rf mutants && $(BIN)/mutmut run --max-children 2
	@$(BIN)/python -m checks.mutants

chaos: $(STAMP) ## The long proof of exactly once (SEEDS=100000 simulated worlds, KILLS=100 real kills, FUZZ_S=60 s of made-up bytes)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --jobs 2
	@$(BIN)/python -m tests.chaos --kills $(KILLS)
	@$(BIN)/python -m tests.chaos --kills 40 --promotions 20
	@$(BIN)/python -m tests.chaos.standby_kills --kills 50
	@$(BIN)/python -m tests.chaos --kills 30 --restores 20 --clients 20
	@$(BIN)/python -m tests.chaos.custody
	@$(BIN)/python -m tests.chaos.backups
	@$(BIN)/python -m tests.chaos.promoting
	@$(BIN)/python -m tests.chaos.provider_cuts --cuts 200
	@$(BIN)/python -m tests.chaos.provider_cuts --kills 200
	@$(BIN)/python -m tests.chaos.fuzz --seconds $(FUZZ_S)
	@$(BIN)/python -m tests.chaos.abuse
	@$(BIN)/python -m tests.chaos.migrating
	@$(BIN)/python -m tests.chaos.pruning
	@$(BIN)/python -m pytest -q tests/simulation/test_mutants.py tests/chaos \
	    tests/integration/accountd/data/test_faults.py tests/integration/accountd/data/test_startup.py \
	    tests/integration/gateway/delivery/test_watermarks.py tests/integration/gateway/delivery/test_never_block.py \
	    tests/integration/gateway/delivery/test_spool.py
	@$(MAKE) --no-print-directory mutation

# Needs the history: REF is the release before, a commit or a tag.
mixed: $(STAMP) ## Gateways and accountd of this release with those of REF, each killed under load (REF=v1.2.3)
	@$(BIN)/python -m tests.chaos.mixed --ref "$(REF)"

clients: $(STAMP) $(HEAVY)/.installed $(ORIGINAL)/node_modules/.installed ## What is too heavy for make test: pipecat, livekit, the original system's library
	@$(BIN)/python -m pytest -q $(CLIENTS)/heavy/heavy_matrix.py
	@RTS_ORIGINAL_LIBRARY=$(CURDIR)/$(ORIGINAL) $(BIN)/python -m pytest -q tests/integration/accountd/data/test_original.py

bench: $(VENV)/.bench ## Figures of this machine, those of the documents (SCENARIOS="relay metering"; all without it)
	@$(BIN)/python -m bench $(SCENARIOS)

check: $(STAMP) ## Lint, format, types, directions of imports, purity, sizes, repetitions, the drawing of the packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m checks.graph --check
	@$(BIN)/python -m checks.sizes
	@$(BIN)/python -m checks.duplicates

hooks: $(STAMP) ## Check each commit before it is made, as `make check` does
	@$(BIN)/pre-commit install

clean: down ## Stop the cluster, then remove the virtual environment and everything in var/
	@rm -rf $(VENV) $(AGENTS) $(FOCUS) $(NODE)/node_modules var mutants

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "found $$($(PYTHON) --version 2>&1), expected Python 3.11 or later; set PYTHON=…"; exit 78; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "this Python cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 78; }
	@echo "installing into $(VENV) (once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.bench: $(STAMP)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

$(AGENTS)/.installed: $(CLIENTS)/agents-requirements.txt | $(STAMP)
	@echo "installing openai-agents into $(AGENTS) (once) …"
	@$(PYTHON) -m venv $(AGENTS)
	@$(AGENTS)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# It has wheels for Python 3.11 and 3.12 alone: elsewhere its test is skipped and says so.
$(FOCUS)/.installed: $(CLIENTS)/focus-requirements.txt | $(STAMP)
	@echo "installing focus-validator into $(FOCUS) (once) …"
	@$(PYTHON) -m venv $(FOCUS)
	@if $(FOCUS)/bin/pip install --quiet --disable-pip-version-check --only-binary numpy,pandas,pydantic-core --no-deps -r $<; \
	    then touch $@; else echo "found no wheels: FOCUS exports will not be validated"; fi

$(HEAVY)/.installed: $(CLIENTS)/heavy/requirements.txt | $(STAMP)
	@echo "installing pipecat and livekit into $(HEAVY) (once, about 800 MB) …"
	@$(PYTHON) -m venv $(HEAVY)
	@$(HEAVY)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Its binary comes from GitHub, or is compiled in a minute with g++.
$(ORIGINAL)/node_modules/.installed: $(ORIGINAL)/package-lock.json
	@echo "installing better-sqlite3-multiple-ciphers (once) …"
	@npm ci --prefix $(ORIGINAL) --no-audit --no-fund --loglevel=error && touch $@

# Without npm the tests skip these clients and say so; .ci/run installs it.
$(NODE)/node_modules/.installed: $(NODE)/package-lock.json
	@if command -v npm >/dev/null; then \
	    echo "installing the JavaScript clients (once) …"; \
	    npm ci --prefix $(NODE) --no-audit --no-fund --ignore-scripts --loglevel=error && touch $@; \
	else echo "found no npm: the JavaScript clients will not be tested"; fi
