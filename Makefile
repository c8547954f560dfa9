PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PORT ?= 8000
CUSTOMERS ?= 2000
KITS ?= ../shared/kits/graphql
WORKERS ?= 1
SUITES ?=
SECONDS ?= 300

.DEFAULT_GOAL := help
.PHONY: help install demo test nightly kills acceptance check bench bench-full reference format test-postgres lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.project ## Make .venv with exactly the locked packages, and this project in it

.venv/.packages: constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; say which with PYTHON=/path/to/python"; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --require-hashes --no-deps --requirement constraints.txt
	@touch $@

.venv/.project: .venv/.packages pyproject.toml
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q core plugins  # where Python is told to write no bytecode, each start would do it
	@touch $@

demo: install ## Start a demo workspace on PORT with CUSTOMERS customers
	@PORT=$(PORT) CUSTOMERS=$(CUSTOMERS) exec $(BIN)/crm demo

test: install ## Run the whole suite but the nightly tests
	$(BIN)/pytest -q -m "not nightly" --numprocesses auto --maxprocesses 4 --dist loadfile

nightly: install ## Run the slow tests
	$(BIN)/pytest -q -m nightly

check: install ## Lint, format check, types, import contracts, the schema's lint and the rules of plugins
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/lint_schema.py
	$(BIN)/crm plugin check plugins

bench: install ## Measure reads against hand-written SQL and PostGraphile; takes minutes and a quiet machine
	$(BIN)/python -m bench.reads --customers 20000 --seconds 2 --rounds 2 --peers

bench-full: install ## Measure everything there is a benchmark for, on large bases; takes an hour
	$(BIN)/python -m bench.reads --customers 200000 --seconds 4 --rounds 4 --who all,team,shared --peers
	$(BIN)/python -m bench.growth --plots
	$(BIN)/python -m bench.writes
	$(BIN)/python -m bench.start --sets 200
	$(BIN)/python -m bench.workspaces
	$(BIN)/python -m bench.processes
	$(BIN)/python -m bench.surface
	$(BIN)/python -m bench.hotpath

kills: install ## Kill one of two servers and two workers every 20 s for SECONDS under load; nothing may be lost
	$(BIN)/python -m tests.nodes --seconds $(SECONDS)

acceptance: install ## Run third-party GraphQL suites of KITS against the demo, served by WORKERS processes
	$(BIN)/python -m scripts.acceptance $(KITS) $(SUITES) --workers $(WORKERS)

reference: install ## Write the references of hooks and public names for plugins' authors
	$(BIN)/python -m scripts.reference

format: install ## Sort imports and format
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

test-postgres: install ## Run the suite on PostgreSQL 15, 16 and 17 too
	$(BIN)/python scripts/test_postgres.py 15 16 17

lock: install ## Resolve constraints.txt anew from pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --all-extras --generate-hashes --allow-unsafe --strip-extras --no-header \
		--no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
		--output-file constraints.txt pyproject.toml

clean: ## Remove what was built here, but no data
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
