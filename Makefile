# Two commands are enough to start: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run test coverage lint test-fault test-fault-parts bench-faults clean bench bench-full test-e2e

help: ## list the targets
	@awk -F':.*## ' '/^[a-zA-Z_-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

define venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "Holdfast needs Python 3.11 or newer; $(PYTHON) is older. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
  { echo "python's venv module is missing (on Debian: apt-get install python3-venv)"; exit 1; }
endef
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

$(STAMP): pyproject.toml constraints.txt
	$(venv)
	@$(PIP) -e '.[dev]'
	@touch $@ $(RUNS)

# Running needs a tenth of what developing does: a first look should not wait for the rest.
RUNS := $(VENV)/.runs
$(RUNS): pyproject.toml constraints.txt
	$(venv)
	@$(PIP) -e '.[gateway]'
	@touch $@

setup: $(STAMP) ## make .venv with everything that development needs

run: $(RUNS) ## start everything here (embedded nats-server, gateway, page) and print the URL
	@exec $(BIN)/holdfast-gateway dev

test: $(STAMP) lint ## lint, types, arrows, unit, contract and integration tests
	$(BIN)/python -m pytest -q -n 3 --dist worksteal

coverage: $(STAMP) ## every branch of the contract and of the gateway's core, by their own tests
	$(BIN)/python -m pytest -q -n 3 --dist worksteal tests/unit/wire tests/unit/core --cov=holdfast.wire --cov=holdfast_gateway.core \
	  --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

lint: $(STAMP) ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

E2E := tests/e2e/node/node_modules/.installed
$(E2E): tests/e2e/node/package.json
	@command -v npm >/dev/null || { echo "npm is missing (on Debian: apt-get install nodejs npm)"; exit 1; }
	@cd tests/e2e/node && npm install --silent --no-package-lock --no-audit --no-fund
	@touch $@

test-e2e: $(STAMP) $(E2E) ## the page in headless Chromium, and clients that others wrote (needs chromium, node)
	$(BIN)/python -m pytest -q tests/e2e

test-fault: $(STAMP) ## two minutes of kills, cuts and stalls on a real cluster (HOLDFAST_FAULT_SEED repeats one)
	$(BIN)/python -m pytest -q -s tests/fault/test_six_faults.py tests/fault/test_harness_parts.py

test-fault-parts: $(STAMP) ## the SDK's writer and the gateway's source alone on three nodes that are killed and parted
	$(BIN)/python -m pytest -q -s tests/fault/broker tests/fault/gateway tests/fault/sdk

bench-faults: $(STAMP) ## 20 runs of each fault (RUNS=n for another count); writes docs/reliability.md
	$(BIN)/python -m bench.faults --runs $(or $(RUNS),20) --page docs/reliability.md

ADAPTERS := $(VENV)/adapters
$(ADAPTERS)/.installed: $(STAMP) tests/adapters/constraints.txt tests/adapters/node/package.json
	@command -v npm >/dev/null || { echo "the adapters' tests read UI streams with the AI SDK itself: install node and npm"; exit 1; }
	@test -x $(ADAPTERS)/bin/python || $(PYTHON) -m venv $(ADAPTERS)
	@$(ADAPTERS)/bin/python -m pip install -q --disable-pip-version-check -c tests/adapters/constraints.txt -e '.[adapters]'
	@cd tests/adapters/node && npm install --silent --no-package-lock --no-audit --no-fund
	@touch $@

test-adapters: $(ADAPTERS)/.installed ## adapters on streams of the real model libraries and the AI SDK (needs node)
	$(ADAPTERS)/bin/python -m pytest -q --confcutdir=tests/adapters tests/adapters

test-containers: $(STAMP) ## the container fixture and a gateway on it (needs a running Docker engine; pulls nothing)
	$(BIN)/python -m pytest -q tests/containers

test-redis: $(STAMP) ## the in-app streamer on a real redis-server (must be installed)
	@command -v redis-server >/dev/null || { echo "redis-server is not installed (on Debian: apt-get install redis-server)"; exit 1; }
	$(BIN)/python -m pytest -q tests/redis

bench: $(STAMP) ## within 10 minutes: cells a, c, e, g against Nchan and FastAPI + sse-starlette; writes bench/results
	$(BIN)/python -m bench short

bench-full: $(STAMP) ## every cell against every peer (needs redis-server, node, go)
	$(BIN)/python -m bench long

clean: ## remove what setup and runs made
	rm -rf $(VENV) tests/e2e/node/node_modules tests/adapters/node/node_modules .holdfast .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
