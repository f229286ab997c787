# `make demo` sets everything up and runs the demo; `make test` sets everything up and runs the tests. Both may be repeated.

PYTHON ?= python3
VENV ?= .venv
DEMO_ITERATIONS ?= 2
TIMES ?= 10
LOAD ?= 6
# Three workers, on two cores too: some tests wait for SLURM. Long ones compute, so two. A module stays on one of them, so that its
# fixtures are made once. The order is that of tests/conftest.py.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder
PYTEST_ARGS_LONG ?= -n 2 --dist loadfile --no-loadscope-reorder

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --progress-bar off -c constraints.txt
STAMP := $(VENV)/stamp

# One torch thread per process: coevo runs one process per core, and results do not depend on the number of cores.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: venv demo test test-long test-under-load test-models lint benchmarks clean
.DELETE_ON_ERROR:

venv: $(STAMP)-run

demo: $(STAMP)-run
	$(BIN)/coevo init li-p-s-demo
	$(BIN)/coevo run li-p-s-demo -n $(DEMO_ITERATIONS)

# What one of the many processes of the tests compiles the others read.
test test-long test-under-load: export PYTHONDONTWRITEBYTECODE :=

test: $(STAMP)-test
	@tests/app/install_chromium.sh
	@tests/labelling/install_pw.sh
	@tests/slurm/install_slurm.sh
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# What takes many minutes and is no part of `make test`. Each of the workers has a SLURM cluster of its own.
test-long: $(STAMP)-test
	@tests/app/install_chromium.sh
	@tests/labelling/install_pw.sh
	@tests/slurm/install_slurm.sh
	$(BIN)/python -m pytest -m long $(PYTEST_ARGS_LONG)

# The tests that depend on time, ten times in a row beside six processes that compute.
test-under-load: $(STAMP)-test
	@tests/app/install_chromium.sh
	@tests/labelling/install_pw.sh
	@tests/slurm/install_slurm.sh
	tests/repeat_under_load.sh $(BIN)/python $(TIMES) $(LOAD)

# Model families in environments of their own: makes those of Chemeleon-DNG, MatterGen (about 2 GB), DiffCSP, Uni-3DAR, DPA-3, MACE, MatterSim and
# SevenNet (1.5 GB each), trains small models. DiffCSP, Uni-3DAR and ADiT run from checkouts in COEVO_CHECKOUTS; without one their tests are
# skipped. The licence of ADiT's is asked about.
test-models: export COEVO_ENVIRONMENTS ?= $(abspath $(VENV))/environments
test-models: $(STAMP)-test
	$(BIN)/coevo env create chemeleon-dng
	$(BIN)/coevo env create mattergen
	$(BIN)/coevo env create diffcsp
	$(BIN)/coevo env create uni3dar
	$(BIN)/coevo env create dpa3
	$(BIN)/coevo env create mace
	$(BIN)/coevo env create mattersim
	$(BIN)/coevo env create sevennet
	-@test -z "$$COEVO_CHECKOUTS" || $(BIN)/coevo env create adit
	$(BIN)/python -m pytest -m models

lint: $(STAMP)-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# benchmarks/gpu.py needs a GPU, discovery.py, rediscovery.py and generator_draws.py hours and a folder, stiffness.py what discovery.py left
# there: they are run by hand (docs/benchmarks.md).
BY_HAND := $(foreach name,gpu discovery rediscovery generator_draws stiffness,benchmarks/$(name).py)
benchmarks: $(STAMP)-test
	@set -e; for script in $(filter-out $(BY_HAND),$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and alone: a requirement without the pin could fetch another build of several GB before it is resolved.
$(STAMP)-torch: constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "coevo needs Python 3.11 or newer, and $(PYTHON) is %d.%d; run make PYTHON=python3.11" % v[:2])'
	@test -x $(BIN)/python || { echo "-- making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "-- installing torch"
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(STAMP)-run: $(STAMP)-torch pyproject.toml
	@echo "-- installing coevo and what it needs"
	@$(PIP) -e '.[report]'
	@touch $@

$(STAMP)-test: $(STAMP)-run
	@echo "-- installing what the tests need"
	@$(PIP) -e '.[test]'
	@touch $@

$(STAMP)-dev: $(STAMP)-test
	@echo "-- installing linters and type stubs"
	@$(PIP) -e '.[dev]'
	@touch $@
