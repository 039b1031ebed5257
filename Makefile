# reidlab: `make` lists what can be made. Python 3.11 to 3.13, git and make are enough.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
# PYTHON=/path/to/python make env, where none of these is the right one
CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
# git runs it in the clone's folder; where there is no .venv (yet), notebooks stay as they are
FILTER := if [ -x $(BIN)/python ]; then $(BIN)/python -m reidlab.workbook.clean --filter; else cat; fi
# Jupyter refuses root unless it is told, and a machine at the other end of ssh has no browser to open
ROOT_ARGS := $(if $(filter 0,$(shell id -u)),--allow-root)
REMOTE_ARGS := $(if $(SSH_CONNECTION),--no-browser)
IS_RIGHT := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

env: $(STAMP) ## make the environment in .venv, with the versions of constraints.txt (several GB)
	@# outputs that JupyterLab saves into notebooks are no change to git (.gitattributes); nothing is set outside a clone
	@if [ "$$(git rev-parse --show-toplevel 2>/dev/null)" = "$$(pwd -P)" ]; then \
	  git config filter.reidlab-notebook.clean '$(FILTER)'; \
	  git config filter.reidlab-notebook.required false; fi

$(STAMP): pyproject.toml constraints.txt
	@python=""; for p in $(CANDIDATES); do \
	  if command -v "$$p" >/dev/null && "$$p" -c "$(IS_RIGHT)" 2>/dev/null; then python=$$p; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "reidlab wants Python 3.11 to 3.13; found: $$(python3 --version 2>&1 || true)." >&2; \
	  echo "Install one (apt install python3.12 python3.12-venv), or say where it is: PYTHON=/path/to/python make env" >&2; \
	  exit 1; fi; \
	if ! $(BIN)/python -c "$(IS_RIGHT)" 2>/dev/null || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "making $(VENV) with $$($$python --version)"; \
	  "$$python" -m venv --clear $(VENV) || { echo "Making $(VENV) failed. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	# compiled now: where Python may write no bytecode, every kernel and command would compile torch anew
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable ".[dev,tracking,export,fast,explore,docs,cluster]"
	@touch $@

demo: env ## run notebooks 01 to 04 on the built-in data set and make the pages
	$(BIN)/reidlab run 1 2 3 4
	$(BIN)/reidlab report
	@echo "Open reports/html/index.html in a browser."

test: env ## every test, then the notebooks cell by cell against their kept outputs
	$(BIN)/python -m pytest $(PARALLEL)
ifneq ($(NOTEBOOKS),)
	# a thread a kernel: two kernels with two each wait for each other (tests/conftest.py does the same for the rest)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	  $(BIN)/python -m pytest $(PARALLEL) --nbval-lax --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
	  --nbval-cell-timeout 600 -W default -p no:cacheprovider $(NOTEBOOKS)
endif

test-wheel: env ## build the wheel and try it in an empty environment, without the clone
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python tests/wheel/smoke.py $(WHEEL_ARGS) dist

lint: env ## style, types, clean notebooks, the environment's lists
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m reidlab.workbook.clean --check
	$(BIN)/python -m pytest -q tests/test_packaging.py

lab: env ## open JupyterLab on the notebooks; LAB_ARGS="--ip=0.0.0.0 --port=9000" for a remote machine
	$(BIN)/jupyter lab --ContentsManager.post_save_hook=reidlab.workbook.after_save.settle \
	  $(ROOT_ARGS) $(REMOTE_ARGS) $(LAB_ARGS) notebooks

docs: env ## execute the notebooks on the built-in data and build the documentation site in reports/site
	$(BIN)/python docs/site/make_site.py

pictures: env ## draw the README's pictures and docs/notebooks anew, from the built-in data
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/site/make_site.py --github

notebooks-clean: env ## strip notebooks of what does not belong into git
	$(BIN)/python -m reidlab.workbook.clean

clean: ## remove caches and builds; runs, pages and .venv stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

clean-env: ## remove .venv
	rm -rf $(VENV)

.PHONY: help env demo test test-wheel lint lab docs pictures notebooks-clean clean clean-env
