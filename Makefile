# Every target sets up its own virtual environment; only Python 3.11 or newer and make are needed.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python -m
DEMO ?= demo
ALONE := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
PARALLEL := -n auto --maxprocesses 8 --dist loadscope

.PHONY: help demo test test-all campaign doors check bench clean

help:
	@echo 'make demo      train, prune, verify and compare on this machine; ends with a report ($(DEMO)/)'
	@echo 'make test      the tests, some minutes'
	@echo 'make test-all  the long ones too: whole sweeps, GPU kernels interpreted, pages in a browser'
	@echo 'make campaign  attacks it: 18,000 mutations, 100 kills of each verb, a crowd; some hours'
	@echo 'make doors     our models in transformers, TransformerLens, nnsight, our SAEs in SAELens, each in its own environment'
	@echo 'make check     ruff, mypy and the rules of the house'
	@echo 'make bench     speed against the naive baselines'

$(VENV)/.demo: pyproject.toml blame/pyproject.toml
	@test -n "$(PYTHON)" || { echo 'lacewing needs Python 3.11 or newer; none found on the PATH' >&2; exit 1; }
	@echo 'setting up $(VENV) ...'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(RUN) pip install --quiet --disable-pip-version-check -e . -e ./blame
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@$(RUN) pip install --quiet --disable-pip-version-check -e '.[dev]' -e './blame[dev]'
	@touch $@

demo: $(VENV)/.demo
	@$(VENV)/bin/lacewing demo --output $(DEMO)

test: $(VENV)/.dev
	@$(ALONE) $(RUN) pytest -m 'not long' $(PARALLEL)

# Run-time type checks stay with the short tests: around whole trainings they double the time.
test-all: test
	@$(ALONE) $(RUN) pytest -m long $(PARALLEL) -o addopts='--strict-markers --strict-config -ra'

# Prints what came of everything; CAMPAIGN="--case model:7" repeats one case.
campaign: $(VENV)/.dev
	@$(ALONE) PYTHONPATH=tests $(RUN) hostile --output campaign.json $(CAMPAIGN)

# Builds the wheels and runs the pages on other libraries as a stranger would; DOORS=nnsight runs one.
doors:
	@$(ALONE) $(PYTHON) scripts/doors.py $(DOORS)

check: $(VENV)/.dev
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@cd blame && ../$(RUN) mypy
	@$(RUN) bandit -q -c pyproject.toml -r src blame/src
	@$(RUN) pytest -q tests/test_house.py blame/tests/test_blame_house.py

bench: $(VENV)/.dev
	@$(RUN) benchmarks

clean:
	rm -rf $(VENV) .doors .mypy_cache .pytest_cache .ruff_cache
