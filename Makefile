# Learn NATS in Python. `make lab` is all that a learner needs; `make` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup lab run test save doctor bench soak lint clean

help:
	@echo "make lab     set up what is missing and open JupyterLab on the notebooks"
	@echo "make run     execute every notebook, headless"
	@echo "make test    all tests; a red one means that a text is wrong"
	@echo "make save    execute every notebook and store its outputs"
	@echo "make doctor  say what is there and what is missing"
	@echo "make bench   how fast the log shipper is on this machine (VS=rsyslog: against it)"
	@echo "make soak    kill everything 500 times under load, and compare (SEED=… repeats a run)"
	@echo "make setup   only set up (needs the network once)"
	@echo "make clean   remove the environment and all caches"

setup: $(READY)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test]'
	@$(BIN)/python -c 'import matplotlib.pyplot'
	@touch $(READY)

lab: setup
	$(BIN)/python -m support lab

run: setup
	$(BIN)/python -m support run

save: setup
	$(BIN)/python -m support save

doctor: setup
	$(BIN)/python -m support doctor

test: lint
	$(BIN)/python -m pytest

bench: setup
	$(BIN)/python -m support.shipper bench $(if $(VS),--vs '$(VS)')

soak: setup
	KILLS=$${KILLS:-500} $(BIN)/python -m pytest -s tests/chaos

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +
