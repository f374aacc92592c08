# Each target does its own set-up; running it again reuses what is there.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test benchmarks fresh clean

demo: $(INSTALLED)
	$(BIN)/cadenza demo

test: $(INSTALLED) fresh
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -rs

benchmarks: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[benchmarks]'
	$(BIN)/python benchmarks/all.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt hatchling editables
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-build-isolation --editable '.[fiddle,dev]'
	touch $@

fresh:
	find src -name "*.nb[ic]" -delete

clean:
	rm -rf .venv runs
