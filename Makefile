# make demo   installs into .venv and shows the whole loop on a small model made on the spot
# make test   installs what the tests need and runs every check
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check clean

demo: .venv/run.done
	$(BIN)/perf-advisor demo

test: check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

check: .venv/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/perf-advisor rule --test rules

# Nothing is fetched again while the stamps are newer than what they depend on, so both targets work offline later.
.venv/python.done:
	$(PYTHON) -m venv .venv
	@touch $@

.venv/run.done: .venv/python.done pyproject.toml constraints.txt
	$(INSTALL) --editable '.[run]'
	@touch $@

.venv/test.done: .venv/run.done
	$(INSTALL) build editables hatchling hypothesis jsonschema mypy pytest pytest-xdist ruff types-PyYAML types-jsonschema types-psutil
	@touch $@

clean:
	rm -rf .venv .demo dist build
