# What a developer does here. `make help` lists it; what CI runs is one of these (`make test`).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help

.PHONY: help
help: ## list what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[local]' --group dev
	@touch $@

.PHONY: setup
setup: $(STAMP) ## make the virtual environment and install everything into it

.PHONY: demo
demo: $(STAMP) ## run a simulated show on real parts and compare three counts of it
	$(BIN)/airtally demo

.PHONY: stay
stay: $(STAMP) ## the same with the pages to look at, until Ctrl-C
	$(BIN)/airtally demo --stay

.PHONY: up
up: $(STAMP) ## start the system on this machine
	$(BIN)/airtally up

.PHONY: down
down: $(STAMP) ## stop it
	$(BIN)/airtally down

.PHONY: test
test: $(STAMP) check ## all gates and all tests, on real servers
	$(BIN)/python -m pytest

.PHONY: test-fast
test-fast: $(STAMP) ## the tests that need no server
	$(BIN)/python -m pytest -m 'not real'

.PHONY: check
check: $(STAMP) ## format, lint, types, layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## format and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: bench
bench: bench-peers ## measure Airtally beside other engines, then each of its parts (an hour)
	$(BIN)/python -m bench.edge
	$(BIN)/python -m bench.tally
	$(BIN)/python -m bench.archive
	$(BIN)/python -m bench.audit
	$(BIN)/python -m bench.live
	$(BIN)/python -m bench.whole
	$(BIN)/python -m bench.growth
	$(BIN)/python -m bench.memory
	$(BIN)/python -m bench.recovery
	$(BIN)/python -m bench.model

.PHONY: bench-peers
bench-peers: $(STAMP) ## measure Airtally and other engines on the same log (about 20 minutes; the first time fetches them)
	$(BIN)/python -m bench.compare

.PHONY: bench-results
bench-results: $(STAMP) ## put what was measured last into bench/RESULTS.md and bench/figures
	$(BIN)/python -m bench.results

.PHONY: simulation
simulation: $(STAMP) ## a million steps of workers on simulated parts that fail (make simulation STEPS=10000000 SEED=7)
	$(BIN)/python -m tests.simulation --steps $(or $(STEPS),1000000) --seed $(or $(SEED),1)

.PHONY: fuzz
fuzz: $(STAMP) ## millions of mutated records through a tally and an archive that must agree (make fuzz RECORDS=100000 SEED=7)
	$(BIN)/python -m tests.fuzz --records $(or $(RECORDS),3000000) --seed $(or $(SEED),1)

.PHONY: faults
faults: $(STAMP) ## break things in running shows and count what was lost (make faults ROUNDS=4: over 300 faults)
	$(BIN)/python -m tests.faults --rounds $(or $(ROUNDS),1)

.PHONY: clean
clean: ## remove what was made here
	@test ! -e .airtally/state.json || { echo "a system runs here: airtally down first" >&2; exit 1; }
	rm -rf $(VENV) .airtally build dist bench/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
