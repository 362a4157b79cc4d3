# `make demo` shows the main job on real data, `make test` runs the tests.
# Each makes .venv and installs what it needs.

PYTHON ?= python3
BIN := .venv/bin
GUIDED := tf-bundle tf-v1 safetensors npz torch dcp msgpack gguf onnx
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint bench fuzz clean

demo: .venv/demo.stamp
	$(BIN)/warmstart demo --engine torch
	$(BIN)/warmstart demo --engine tf
	$(BIN)/warmstart demo --engine keras
	$(BIN)/warmstart demo --engine jax

test: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal

lint: .venv/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

bench: .venv/dev.stamp
	$(BIN)/python bench/run.py

# SECONDS=600 FORMATS="gguf onnx": how long, and which readers; all of them without any
fuzz: .venv/dev.stamp
	$(BIN)/python fuzz/run.py $(FORMATS) --seconds $(or $(SECONDS),120)
	$(INSTALL) -e '.[fuzz]' && for format in $(or $(FORMATS),$(GUIDED)); do \
		$(BIN)/python fuzz/run.py $$format --guided --seconds $(or $(SECONDS),60) || exit 1; done

# torch is asked for by its exact version, which is a CPU build where one is offered
.venv/demo.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) "$$(grep '^torch==' constraints.txt)" "$$(grep '^tensorflow-cpu==' constraints.txt)"
	$(INSTALL) -e '.[tf,torch,keras,jax,demo]'
	touch $@

.venv/dev.stamp: .venv/demo.stamp
	$(INSTALL) -e '.[tf,torch,keras,jax,dev]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
