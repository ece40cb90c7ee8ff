# Every target first makes sure that what it needs is installed (tools/bootstrap).
SHELL := /bin/bash
VENV ?= .venv
# Tests wait more than they compute, so that several at a time fit two cores. What goes by time has the machine for
# itself, but for a second process with what only waits (tests/lab/conftest.py).
JOBS ?= 4
LABS ?= 3
ALONE ?= 2
# What of the labs' tests runs on Kubernetes' own control plane, where its programs are: `core` or `all`.
REAL ?= core
BIN := $(VENV)/bin
LAB_TESTS = $(BIN)/python -m pytest -q --dist loadfile
TIMED_TESTS = $(BIN)/python -m pytest -q --dist loadgroup -n $(ALONE)
export PATH := $(abspath $(BIN)):$(PATH):/usr/sbin:/sbin

.PHONY: demo test test-embedded test-kubernetes lint bench bench-quick clean install lock crds kube-assets
install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml tools/bootstrap tools/kubectl.py
	./tools/bootstrap $(VENV)
	touch $@

demo: install
	$(BIN)/python -m tools.demo

test: test-embedded
	@if $(BIN)/python tools/kube_assets.py --there; then $(MAKE) --no-print-directory test-kubernetes; \
	else test "$(REAL)" != all; fi

test-embedded: install lint
	$(BIN)/python -m pytest -q --dist worksteal -n $(JOBS) --ignore tests/lab
	$(LAB_TESTS) -n $(LABS) -m "not alone and not kubernetes" tests/lab
	$(TIMED_TESTS) -m alone tests/lab

core := $(patsubst %,tests/lab/test_%.py,kubernetes walkthroughs kubectl owners)
all := tests/lab
test-kubernetes: export SALLYPORT_TEST_CONTROL_PLANE := kubernetes
test-kubernetes: install
	$(BIN)/python tools/kube_assets.py --there
	$(LAB_TESTS) -n $(LABS) -m "not alone and not embedded" $($(REAL))
	$(if $(filter all,$(REAL)),$(TIMED_TESTS) -m "alone and not embedded" tests/lab)

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

bench-quick: install
	$(BIN)/python -m bench.quick

lock: install
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
