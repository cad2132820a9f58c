# `make demo` and `make test` do all the set-up by themselves.
#
#   make setup TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"    another build of PyTorch
#   make setup TORCH="torch>=2.5" CONSTRAINTS=/dev/null                                  no pins
#   make demo PYTHON=python3.12 VENV=/scratch/venv                                       another Python, another place
#   make test JOBS=4                                                                     processes of the tests
#
# `make lint` reads the code, `make test-fast` runs the tests that are not slow, `make test` does everything.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
CONSTRAINTS ?= constraints.txt
JOBS ?= auto

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: setup lint test test-fast demo clean

setup: $(INSTALLED)

# The stamp is written last, so an interrupted installation is taken up again. PyTorch comes first: the build
# that TORCH names is then kept when the other packages ask for any torch.
$(INSTALLED): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c $(CONSTRAINTS) $(TORCH)
	$(BIN)/python -m pip install -c $(CONSTRAINTS) -e ".[dev]"
	touch $(INSTALLED)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict interactivepet
	$(BIN)/lint-imports

# Each process begins with a block of neighbouring tests, which share what they set up; one that is done takes
# tests from the others.
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

test test-fast: export OMP_NUM_THREADS = 1
test test-fast: export HF_HUB_OFFLINE = 1

test: lint
	$(PYTEST) --cov=interactivepet --cov-report=term

test-fast: setup
	$(PYTEST) -m "not slow"

demo: setup
	$(BIN)/interactivepet_demo demo

clean:
	rm -rf .venv demo build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find interactivepet tests -name __pycache__ -type d -prune -exec rm -rf {} +
