# Two commands: `make reproduce` (environment, data, every claim, report) and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help environment data reproduce report check test test-peers fuzz bench notebooks docs docs-check lint lock clean

help: ## this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

environment: $(STAMP) ## create .venv from the locked versions

# the stamp is written last, so an interrupted install is taken up again
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nsx needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

data: environment ## fetch the real data into the user's cache (verified, once)
	$(BIN)/python -m experiments fetch

reproduce: environment data ## every claim at its default size, the figures and the report
	$(BIN)/python -m experiments run
	$(BIN)/python -m experiments report
	$(BIN)/python -m experiments check

report: environment ## rewrite paper_repro.md and the README's table from the results
	$(BIN)/python -m experiments report

check: environment ## judge the committed results again
	$(BIN)/python -m experiments check

test: environment ## the whole suite: lint, both precisions, every claim at its quick size
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not peers"
	NSX_PRECISION=32 $(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not peers and not slow"

test-peers: environment $(VENV)/peers/.installed ## nsx against other libraries, which have an environment of their own
	$(VENV)/peers/bin/python -m pytest -q -m peers $(PEER_TESTS)

fuzz: environment ## every public function over edge values; FUZZ=1000000 and NSX_SEED=1 for more
	NSX_FUZZ=$(or $(FUZZ),100000) $(BIN)/python -m pytest -q -n 2 tests/test_fuzz.py

bench: environment $(VENV)/peers/.installed ## race the peers, about half an hour on a quiet machine; BENCH=--quick: minutes
	$(VENV)/peers/bin/python -m benchmarks $(BENCH)

# the peers bring torch and much else, so they have an environment of their own; a newer torch may bring a GPU's
# libraries too, several GB
PEER_TESTS = tests/losses/test_peers_losses.py tests/poincare/test_peers_poincare.py
$(VENV)/peers/.installed: pyproject.toml requirements.in
	$(PYTHON) -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.in \
	  pytest -e '.[experiments,peers]'
	@touch $@

notebooks: environment ## run the notebooks into build/notebooks/*.ipynb
	$(BIN)/python -m docs notebooks

docs: environment ## the site in build/site: reference, gallery of claims, tables, notebooks
	$(BIN)/python -m docs site

docs-check: environment ## build the site, check it, and open every page of it in a headless Chromium
	NSX_PAGES=all $(BIN)/python -m pytest -q tests/docs/test_docs.py

lint: environment ## format and lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## resolve the versions anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-find-links --no-header \
	  --extra test --extra experiments --extra audit requirements.in pyproject.toml -o requirements.lock

clean: ## remove the environment and what is rebuilt
	rm -rf $(VENV) .cache results
