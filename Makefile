# make lab     open the course in JupyterLab
# make test    everything that must hold
# make format  mend what `make test` says of the layout of the code
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LAB_SETTINGS := $(VENV)/share/jupyter/lab/settings/overrides.json
NOTEBOOK ?= notebooks/00_start_here.ipynb
# Without a screen a browser cannot open: JupyterLab then prints the address to open elsewhere.
NO_BROWSER := $(if $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(filter Darwin,$(shell uname -s))),,--no-browser)

.PHONY: help lab test unit notebooks browser format lint clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile | head -3

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make lab PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# The stamps make a second call quick: pip runs only when what it reads has changed.
$(VENV)/.lab: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	mkdir -p $(dir $(LAB_SETTINGS))
	printf '%s\n' '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false},' \
	  '"@jupyterlab/services-extension:kernel-settings": {"commsOverSubshells": "disabled"}}' > $(LAB_SETTINGS)
	touch $@

$(VENV)/.test: $(VENV)/.lab
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,scale]'
	touch $@

lab: $(VENV)/.lab
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --LabApp.news_url=None \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	  --LabApp.extension_manager=readonly $(NO_BROWSER) $(NOTEBOOK)

test: lint unit notebooks browser

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: $(VENV)/.test
	$(BIN)/pytest -q -m 'not browser'

notebooks: $(VENV)/.test
	$(BIN)/pytest -q -p no:jaxtyping --nbval-lax --nbval-current-env --nbval-cell-timeout 180 \
	  -n 2 --dist loadscope notebooks

browser: $(VENV)/.test
	$(BIN)/pytest -q -m browser tests/browser

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache test-artifacts
