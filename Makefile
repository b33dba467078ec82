SHELL := /bin/bash
PYTHON := .venv/bin/python
T ?= tests
W ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test long check fix bench scale idle fuzz kill-matrix soak oracle oracle-check up

help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

setup: ## Make .venv, and get redis-server, docker-registry and skopeo where that is allowed
	@.ci/setup

demo: setup ## Mirror real images between two registries, twice, and verify them; KEEP=1 leaves all running
	@$(PYTHON) -m tests.demo $(if $(KEEP),--keep)

test: setup ## Run the tests; T=tests/unit/store for some, W=1 for one at a time
	@$(PYTHON) -m pytest -n $(W) --dist loadfile $(T)

long: setup ## Run the tests that take above a minute, alone; about fifteen minutes
	@$(PYTHON) -m tests.long --write

check: setup ## Everything but tests: format, lint, types, contracts, spelling, lock
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m ruff check --quiet .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/codespell
	$(PYTHON) -m pip check --disable-pip-version-check
	@! grep -nE '://|^ *-[if]|--(extra-index-url|index-url|find-links|trusted-host)' requirements.lock

fix: setup ## Format, and mend what can be mended
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

bench: setup ## Copy, pull and mirror beside skopeo; about ten minutes
	@$(PYTHON) -m tests.bench

scale: setup ## What history costs the engine, on SQLite and PostgreSQL; about five minutes
	@$(PYTHON) -m tests.bench.scale --write

idle: setup ## What a cluster without work costs its database, and maintenance over twenty deaths; about eight minutes
	@$(PYTHON) -m tests.bench.idle --write

fuzz: setup ## Feed the readers of archives, layers and manifests with noise, a minute each
	@$(PYTHON) -m tests.fuzz

kill-matrix: setup ## Kill every role at every stage, over 200 times, and let Redis fail over; about twenty minutes
	@$(PYTHON) -m tests.kills --write

soak: setup ## Fifty clients for an hour; is memory level?
	@$(PYTHON) -m tests.soak --write

oracle-check: setup ## Does a real Docker still answer as it is recorded? As root; about six minutes
	@$(PYTHON) -m tests.oracle check

oracle: setup ## Record anew what a real Docker 20.10 does, and see that changes are noticed; as root
	@$(PYTHON) -m tests.oracle record
	@$(PYTHON) -m pytest -q tests/oracle/test_records.py tests/oracle/test_mutations.py

up: setup ## Run a server here, with Flower
	@.venv/bin/transship up --flower
