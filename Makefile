# make demo    refine a selection of a picture with the model that ships here
# make test    every check and test, those in the real Krita too
# make krita   Krita with the plugin enabled and the daemon running
# make bench   the measurements of docs/measurements.md

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# setuptools warns of every editable installation.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check -q
KRITA_PACKAGES := krita python3-pyqt5 xvfb xauth xdotool openbox x11-utils imagemagick dbus-x11
SOURCES := setup.cfg pyproject.toml constraints.txt

.PHONY: demo test krita bench check clean

demo: $(VENV)/run.stamp
	$(BIN)/python examples/demo.py

test: $(VENV)/test.stamp check
	@scripts/apt_install.sh $(KRITA_PACKAGES) trayer gmic nodejs npm
	$(BIN)/python -m pytest

check: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

krita: $(VENV)/run.stamp
	@scripts/apt_install.sh krita python3-pyqt5
	$(BIN)/maskgit krita run

bench: $(VENV)/test.stamp
	$(BIN)/python bench/bench_refine.py

$(VENV)/bin/python:
	@scripts/apt_install.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -U pip

$(VENV)/run.stamp: $(SOURCES) | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/test.stamp: $(SOURCES) | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[export,evaluate,text,tray,test]'
	@touch $@

clean:
	rm -rf $(VENV) out build dist *.egg-info
