# Everything a fresh machine needs is made here: Python 3.11+, git and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-slow test-fuzz test-loops test-zoo test-programs check soak clean

$(BIN)/raysearch: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $@

demo: $(BIN)/raysearch ## circle packing on a local Ray, to a frontier
	scripts/sandbox-ready || true
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo

check: $(BIN)/raysearch
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(BIN)/raysearch check ## lint, types, layers, unit, simulation, real Ray, real sandbox
	scripts/sandbox-ready
	$(BIN)/python -m pytest -m 'not slow' -n auto --dist loadgroup

test-slow: $(BIN)/raysearch ## whole nodes lost, Ray jobs, escapes from the sandbox, the first hour: one after the other
	scripts/sandbox-ready
	$(BIN)/python -m pytest -m "slow and not programs and not zoo and not loops and not fuzz"

test-fuzz: $(BIN)/raysearch ## thousands of odd configurations, targets and command lines
	scripts/sandbox-ready
	$(BIN)/python -m pytest -m fuzz

test-loops: $(BIN)/raysearch ## drivers of every loop, with scripted models, killed twenty times each
	scripts/sandbox-ready
	$(BIN)/python -m pytest -m loops

test-zoo: $(BIN)/raysearch ## every cheat and every honest program of the zoo through the real gates
	scripts/sandbox-ready
	$(BIN)/python -m pytest -m zoo

test-programs: $(BIN)/raysearch ## the agents' real programs and a real vLLM, installed first (4 GB), with scripted models
	scripts/sandbox-ready
	$(BIN)/python -m pytest -m programs

soak: $(BIN)/raysearch ## 20,000 simulated runs a policy
	$(BIN)/python benchmarks/soak.py --seeds 20000

clean:
	rm -rf $(VENV)
