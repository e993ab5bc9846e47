# `make demo` and `make test` need only Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

PROGRAMS := chromium prometheus promtool

.PHONY: demo system-packages test-fast test test-slow chaos wheel docs check format benchmark clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dfp-batch needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

samples/manifest.parquet: | $(READY)
	$(BIN)/dfp-batch synth samples --count 6 --side 448 --scale 2

demo: $(READY) samples/manifest.parquet  ## archive -> submit on a local Ray -> table and images
	$(BIN)/dfp-batch submit samples/manifest.parquet --scale 2

system-packages:  ## what `test` and `test-slow` need of the system, on Debian: a browser, Prometheus
	for program in $(PROGRAMS); do command -v $$program || missing=1; done; \
	test -z "$$missing" || { apt-get update && apt-get install --yes --no-install-recommends chromium prometheus; }

test-fast: $(READY)  ## unit tests, a minute: no Ray, no S3 server, no training, no other process
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m 'not (ray or s3 or train or process or slow)'

test: $(READY)  ## everything but the slow tests, ten minutes
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup -m 'not slow'

test-slow: $(READY)  ## what starts clusters and environments, or trains for long; needs `make system-packages`
	$(BIN)/python -m pytest -m slow

wheel: $(READY)  ## dist/: what install.sh needs to set up a machine of a cluster, or an image
	rm -rf dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	cp constraints.txt infra/install.sh dist/

SEED ?= 1
MINUTES ?= 10
chaos: $(READY)  ## a cluster whose every part dies now and then; fails if a pair is lost or done twice
	PYTHONPATH=.:tests $(BIN)/python tests/chaos.py --seed $(SEED) --minutes $(MINUTES)

docs: $(READY)  ## build/docs/index.html; a warning is an error, nothing comes from the network
	$(BIN)/sphinx-build --quiet --fresh-env --nitpicky --fail-on-warning --keep-going docs build/docs

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python jobs/record_results.py --check
	$(BIN)/python jobs/record_speed.py --check

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(READY)
	$(BIN)/python jobs/benchmark.py

clean:
	rm -rf $(VENV) samples dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
