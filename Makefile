# make lab     open the course in JupyterLab
# make test    run all tests (the parts: make lint, unit, notebooks, browser)
# make format  fix the style of code and notebooks
# make store   execute the notebooks of the course and store their outputs
# make instructor  install nbgrader beside the course, to mark a class (see "For instructors" in README.md)
# make clean   remove .venv and the files that tests leave behind
#
# Variables:   make lab PYTHON=python3.12 VENV=../venv TORCH=cpu LAB_ARGS="--port=9000 --no-browser"

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
LAB_ARGS ?=
TORCH ?=

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
# On Linux, pip installs torch with several GB of CUDA libraries; TORCH=cpu installs the small CPU build.
ifeq ($(TORCH),cpu)
PIP += --extra-index-url https://download.pytorch.org/whl/cpu
endif

INSTRUCTOR := $(VENV)/instructor/$(notdir $(BIN))/python
FIRST := notebooks/00_start_here.ipynb
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb notebooks/solutions/*.ipynb))
PYTEST := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL := -n $(WORKERS) --dist loadscope

.PHONY: help lab test lint unit notebooks browser format store instructor clean
.DEFAULT_GOAL := help

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

lab: $(VENV)/.lab
	@options=; \
	if [ "$$(uname -s)" = Linux ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
		options=--no-browser; \
		echo "No display found: open the address below in a browser (over SSH, forward the port)."; \
	fi; \
	if [ "$$(id -u)" = 0 ]; then options="$$options --allow-root"; fi; \
	exec $(BIN)/python -m jupyterlab $$options --ip=127.0.0.1 --log-level=WARN \
		--ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/$(FIRST) \
		--LabApp.news_url=None --LabApp.extension_manager=readonly \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(LAB_ARGS)

# Stop at the first part that fails, so that the last line of the output shows the failure.
test:
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory notebooks
	@$(MAKE) --no-print-directory browser

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: $(VENV)/.test $(VENV)/.instructor
	$(PYTEST) $(PARALLEL) -m "not browser" rlvr_lab tests

notebooks: $(VENV)/.test
	$(PYTEST) $(PARALLEL) --nbval-lax --nbval-current-env --nbval-cell-timeout 120 $(NOTEBOOKS)

# Skipped without Chromium, unless CI=true. Each worker has a browser and a JupyterLab of its own.
browser: $(VENV)/.test
	$(PYTEST) -n $(WORKERS) --dist load -m browser tests/browser

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

store: $(VENV)/.test
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m rlvr_lab store $(wildcard notebooks/*.ipynb)
	@$(MAKE) --no-print-directory format

# nbgrader adds menus and a server error to JupyterLab: it gets an environment of its own, on top of the learner's.
instructor: $(VENV)/.instructor
	@echo "Instructor's commands: $(INSTRUCTOR) -m rlvr_lab class --help"

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache test-artifacts

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed. If you have one: make lab PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamp files: pip runs again only when one of these files has changed.
$(VENV)/.lab: pyproject.toml constraints.txt $(wildcard rlvr_lab/jupyter/*.json) | $(BIN)/python
	@echo "Installing the course into $(VENV). This takes a few minutes the first time."
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(wildcard rlvr_lab/jupyter/*.json) | $(BIN)/python
	@echo "Installing the course and its tests into $(VENV). This takes a few minutes the first time."
	$(PIP) --editable ".[test,scale]"
	@touch $@ $(VENV)/.lab

$(VENV)/.instructor: pyproject.toml constraints.txt rlvr_lab/grading/layer.py | $(VENV)/.lab
	@echo "Installing nbgrader into $(VENV)/instructor."
	$(BIN)/python -m rlvr_lab.grading.layer $(VENV)/instructor
	@touch $@
