# `make run` is the main job, `make test` the proof; both install what they need into .venv first. What
# repeats at length (every backbone, twenty kills, a real daemon) is `make test-slow`; CI runs both.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export DO_NOT_TRACK := 1

.PHONY: run test test-slow lint docs viz ui dagster clean

run: $(STAMP)
	$(BIN)/kedro run --pipeline=cross_domain

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses=8 --cov --cov-report=term:skip-covered --cov-fail-under=90

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -n auto --maxprocesses=8

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

viz: $(STAMP)
	$(BIN)/kedro viz run --host 127.0.0.1

ui: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" kedro mlflow ui

# The daemon and its page, on this machine only. CROSSPROBE_ENV names the environment.
dagster: $(STAMP)
	mkdir -p data/dagster
	cp src/crossprobe/orchestration/dagster.yaml data/dagster/dagster.yaml
	DAGSTER_HOME="$(CURDIR)/data/dagster" PATH="$(CURDIR)/$(BIN):$$PATH" dagster dev -h 127.0.0.1 -p 3000 -m crossprobe.orchestration.definitions

clean:
	find data -type f ! -name .gitkeep -delete

$(STAMP): pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('crossprobe needs Python 3.11 to 3.13, this is ' + sys.version.split()[0] + '; name another: make PYTHON=python3.11') if not (3, 11) <= sys.version_info < (3, 14) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $(STAMP)
