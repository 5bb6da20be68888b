# Everything runs in .venv, which is made when it is missing or when the dependencies changed.
PYTHON ?= python3
BIN := .venv/bin
# Tests start many processes, each of which would compile the package again where the environment forbids to keep it.
export PYTHONDONTWRITEBYTECODE :=
SAMPLE := src/mspn/assets/sample
# The last one comes with Debian's opencv-doc, where that is installed.
PHOTOS := $(wildcard $(SAMPLE)/*.jpg /usr/share/doc/opencv-doc/examples/data/basketball1.png)

.DEFAULT_GOAL := help
.PHONY: help demo page test test-all check format docs

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.installed  ## find the people in the sample images and video, print them, draw them into demo/
	$(BIN)/mspn predict $(PHOTOS) --out demo --overwrite --save json,images
	$(BIN)/mspn predict $(SAMPLE)/pan.mp4 --out demo/pan --overwrite --save jsonl,video

page: .venv/.installed  ## write the page whose networks run in the browser into page/; npm downloads what runs them
	$(BIN)/mspn page page

test: .venv/.installed  ## run the tests but those of whole programs, which are slow
	$(BIN)/python -m pytest -m 'not slow'

test-all: .venv/.installed  ## run every test
	$(BIN)/python -m pytest

check: .venv/.installed  ## lint, formatting, types, layers of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed  ## format the code and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: .venv-docs/.installed  ## build the site of docs/ into site/, and check its links
	.venv-docs/bin/zensical build --strict

# Apart, since it needs neither torch nor the package: the reference is read from the sources.
.venv-docs/.installed: constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet -c constraints.txt zensical 'mkdocstrings[python]' ruff
	@touch $@

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@
