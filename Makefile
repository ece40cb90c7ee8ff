# Every target first makes sure that what it needs is installed (tools/bootstrap).
SHELL := /bin/bash
VENV ?= .venv
# Labs wait more than they compute, so that several at a time fit two cores. Each process has labs of its own.
LABS ?= 3
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH):/usr/sbin:/sbin

.PHONY: demo test lint bench clean install lock crds kube-assets
install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml tools/bootstrap tools/kubectl.py
	./tools/bootstrap $(VENV)
	touch $@

demo: install
	$(BIN)/python -m tools.demo

test: install lint
	$(BIN)/python -m pytest -q -n 2 --ignore tests/lab
	$(BIN)/python -m pytest -q -n $(LABS) --dist loadfile -m "not alone" tests/lab
	$(BIN)/python -m pytest -q -m alone tests/lab

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

crds: install
	$(BIN)/python tools/crds.py

kube-assets: install
	$(BIN)/python tools/kube_assets.py

bench: install
	$(BIN)/python -m bench

lock: install
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
