# Needs make and Python 3.11 or later; everything else goes into .venv.
#   make quickstart   the main job, end to end, on a real log
#   make test         every test
PYTHON ?= python3
PIP_VERSION := 26.3
SETUPTOOLS_VERSION := $(shell sed -n 's/^setuptools==//p' constraints.txt)
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# Installed against exact versions, with the pinned setuptools as the one build backend.
INSTALL := PYTHONWARNINGS=ignore $(PIP) install --quiet --no-build-isolation --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install quickstart stream-demo test lint format bench soak bench-policies docs clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

install: $(VENV)/.installed  ## create .venv and install the pinned dependencies

quickstart: $(VENV)/.installed  ## run the main job on the flights of 2013 (under 5 minutes on 2 cores)
	@$(BIN)/stream-prune quickstart $(ARGS)

stream-demo: $(VENV)/.installed  ## the whole loop live: Kafka, Beam, trainer, MLflow, serving (needs Java 17 and Maven)
	@$(BIN)/stream-prune stream-demo configs/stream.yaml $(ARGS)

test: $(VENV)/.dev  ## install what the tests need and run all of them
	OMP_NUM_THREADS=1 $(if $(CI),REQUIRE_BROKER=1 )$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## run every benchmark in full; ARGS=--quick for the short ones
	@mkdir -p benchmarks/results
	@for file in $(filter-out benchmarks/soak.py,$(shell grep -l __main__ benchmarks/*.py)); do \
	  echo "== $$file"; \
	  $(BIN)/python $$file $(ARGS) --json benchmarks/results/$$(basename $$file .py).json || exit 1; \
	done

soak: $(VENV)/.dev  ## the streaming job at full size: faults, kills, half an hour under load (needs Java 17 and Maven)
	@mkdir -p benchmarks/results
	$(BIN)/python benchmarks/soak.py $(ARGS) --json benchmarks/results/soak.json

bench-policies: $(VENV)/.dev  ## compare the policies on four logs (an hour on 2 cores, goes on where it stopped)
	@mkdir -p benchmarks/results
	$(BIN)/python benchmarks/policies.py $(ARGS) --json benchmarks/results/policies.json

docs: $(VENV)/.dev  ## build the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove .venv and what tools left behind (not runs/)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Stamps: a second call does nothing, a changed pyproject.toml or constraints.txt installs again.
$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "make: no '$(PYTHON)' found: install Python 3.11 or later, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $$($(PYTHON) --version) is too old: Python 3.11 or later is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "make: $(PYTHON) has no venv module: install it (Debian: apt install python3-venv), or name another Python: make PYTHON=/path/to/python" >&2; \
	  rm -rf $(VENV); exit 1; }
	@$(PIP) install --quiet --disable-pip-version-check pip==$(PIP_VERSION) setuptools==$(SETUPTOOLS_VERSION)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing the pinned dependencies into $(VENV) (minutes, the first time: torch is large) ..."
	@$(INSTALL) --editable '.[stream,mlflow,serve]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@echo "installing what tests and linters need ..."
	@$(INSTALL) --group dev
	@touch $@
