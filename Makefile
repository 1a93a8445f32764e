# Each target runs plain commands. README shows the same commands for machines without make.
PYTHON ?= python3
VENV ?= .venv
RUN ?= sample
BIN = $(VENV)/bin

report: $(VENV)/.installed
	$(BIN)/python -m crack_utils run runs/$(RUN).yaml

lab: $(VENV)/.installed
	$(BIN)/jupyter lab --notebook-dir=notebooks

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto --dist loadgroup

test-fast: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto -m "not slow"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml setup.py | $(VENV)/bin/python
	$(BIN)/pip install -r requirements.txt
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install -e '.[test]'
	touch $@

.PHONY: report lab test test-fast
.DEFAULT_GOAL := report
