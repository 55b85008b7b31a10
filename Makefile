# Two commands are all a newcomer needs: `make run` and `make test`. Each does its own set-up in .venv, once.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.complete
PORT ?= 3000
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export BENTOML_DO_NOT_TRACK := True

.DEFAULT_GOAL := help
.PHONY: help run serve demo test test-all check clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(SETUP)  ## set up, then turn the raw messages into a gated, documented, packaged model (only what has changed)
	@evergreen train

serve: $(SETUP)  ## answer requests on http://127.0.0.1:3000 with the packaged model (PORT=3000)
	@test -f build/bento/bento.yaml || { echo "There is no packaged model yet; run \`make run\` first."; exit 1; }
	@evergreen serve build/bento --port $(PORT)

demo: $(SETUP)  ## the whole loop in about ten minutes: drift, alert, retraining, gate, release, in a project of its own
	@python -m demo

test: $(SETUP)  ## set up, then run the tests
	@python -m pytest

test-all: $(SETUP)  ## the long cases too: the whole loop, kills in every stage, real data
	@python -m pytest -m "long or not long"

check: $(SETUP)  ## style, types, import rules, dependencies
	@ruff format --check .
	@ruff check .
	@mypy
	@lint-imports --no-cache
	@python -m pip check

# What cannot be made again stays: request log, keys, signing keys, remote, live version, Prefect's database.
clean:  ## remove what the pipeline made (.venv, DVC's cache and the state of the service stay)
	rm -rf data/raw.parquet data/clean.parquet data/splits reports/* plots/* runs/* dvc_plots build
	rm -rf $(addprefix models/,classifier artifact reference calibration.json)
	rm -rf $(addprefix .evergreen/,checkpoints locks package refused)
	rm -rf .pytest_cache .mypy_cache .ruff_cache

# Rebuilt when the pins or the project's own needs change, and only then.
$(SETUP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "Evergreen needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version). Say which: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { rm -rf .venv; exit 1; }
	@echo "Installing the pinned dependencies into .venv (once; a few minutes) ..."
	@python -m pip install --quiet --constraint constraints.txt setuptools
	@python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[train,dev]'
	@touch $(SETUP)
