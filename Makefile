# Two commands to know: `make demo` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-check up test test-unit test-faults bench-quality lint format lock clean bench-embed bench-import bench-nightly bench-scaleout bench-reindex bench-search bench-api
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,12))' && echo $$p && break; done)
INSTALLED := $(VENV)/.installed
# Beside the environment: with scikit-learn in it, transformers would load that in every worker.
BENCH_EXTRA := build/benchmarks/extra
BENCH_FAISS := build/benchmarks/faiss
BENCH_PACKAGES := sentence-transformers==6.2.0 scikit-learn==1.9.1 scipy==1.17.1 joblib==1.6.0 threadpoolctl==3.8.0 narwhals==2.29.0 cloudpickle==3.1.2

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## Create .venv with everything pinned (Python 3.11 or 3.12; UV_TORCH_BACKEND=cpu for the small CPU torch)

$(INSTALLED): pyproject.toml requirements.lock requirements-torch.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, and neither was found; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock -r requirements-torch.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(INSTALLED) ## Import 600 photos, run eight queries, draw a contact sheet, stop
	$(BIN)/setr demo

demo-check: $(INSTALLED) ## 50 composed queries over the demo gallery: is the intended product in the top 5?
	$(BIN)/setr demo-check

up: $(INSTALLED) ## Start the whole service here and stay; Ctrl-C stops it
	$(BIN)/setr up

test: $(INSTALLED) ## Unit, integration and functional tests (starts its own Postgres, Redis and S3)
	$(BIN)/pytest

test-unit: $(INSTALLED) ## Only the fast tests that need no service
	$(BIN)/pytest tests/unit

test-faults: $(INSTALLED) ## 50 imports, two faults each (kills, restarts, a lost broker); counts what is left. Up to an hour, resumable
	$(BIN)/python -m benchmarks.faults $(if $(SEEDS),--seeds $(SEEDS)) $(if $(IMAGES),--images $(IMAGES))

bench-quality: $(INSTALLED) ## Every strategy on SynthCIR, with and without the judge, into docs/quality.md (LIMIT=40: a try)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.quality $(if $(LIMIT),--limit $(LIMIT)) $(if $(DATA),--data $(DATA))

bench-embed: $(INSTALLED) ## Embedding rate of the whole service against the bare model and sentence-transformers
	test -d $(BENCH_EXTRA) || $(BIN)/uv pip install --quiet --python $(BIN)/python --target $(BENCH_EXTRA) --no-deps $(BENCH_PACKAGES)
	PYTHONPATH=$(BENCH_EXTRA) $(BIN)/python -m benchmarks.embed $(if $(IMAGES),--images $(IMAGES))

bench-import: $(INSTALLED) ## Imports of 5 000, 20 000 and 50 000 images: time, memory, invariants, a second import. Resumable
	$(BIN)/python -m benchmarks.imports $(if $(IMAGES),--images $(IMAGES))

bench-nightly: $(INSTALLED) ## A manifest of 50 000 URLs, then again with 1 % changed: embeddings, PUTs, downloads, time (SIZE=200: a try)
	$(BIN)/python -m benchmarks.nightly $(if $(SIZE),--rows $(SIZE))

bench-scaleout: $(INSTALLED) ## The same import by one and by two hosts' worth of workers, each on a core of its own (IMAGES=32: a try)
	$(BIN)/python -m benchmarks.scaleout $(if $(IMAGES),--images $(IMAGES))

bench-reindex: $(INSTALLED) ## Re-index 20 000 images under queries and upserts, kill a worker, go back: nothing failed, missing or stale?
	$(BIN)/python -m benchmarks.reindex $(if $(IMAGES),--images $(IMAGES))

bench-api: $(INSTALLED) ## Submitting, polling and whole queries over HTTP, by 1, 4 and 16 clients (QUERIES=16: a try)
	$(BIN)/python -m benchmarks.api $(if $(QUERIES),--queries $(QUERIES))

bench-search: $(INSTALLED) ## Vector search at 10 k, 100 k and 300 k, with and without filters, beside FAISS. Resumable (SIZES=10k: a try)
	test -d $(BENCH_FAISS) || $(BIN)/uv pip install --quiet --python $(BIN)/python --target $(BENCH_FAISS) --no-deps faiss-cpu==1.15.1
	PYTHONPATH=$(BENCH_FAISS) $(BIN)/python -m benchmarks.search $(if $(SIZES),--sizes $(SIZES))

lint: $(INSTALLED) ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(INSTALLED) ## Renew both pins files from pyproject.toml
	mkdir -p build
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra embedded --extra ml --python-version 3.11 --no-annotate --no-header --quiet --upgrade -o build/all.lock
	grep -vE '^(torch|torchvision|triton|nvidia-.*|cuda-.*)==' build/all.lock > requirements.lock
	grep -E '^(torch|torchvision)==' build/all.lock > requirements-torch.lock

clean: ## Remove the environment, caches and demo output (not your data in .setr)
	rm -rf $(VENV) out build .mypy_cache .ruff_cache .pytest_cache .hypothesis
