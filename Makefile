# Every target makes what it needs: a bare Python >= 3.11 is enough to start.
#   make demo     fit the estimator on real data, print a table, draw a picture
#   make test     the whole test suite, and the examples in the docstrings
#   make lint     style, types, import contracts
#   make examples all examples that need no data sets, one after the other
#   make docs     the documentation as HTML, warnings are errors
#   make package  build sdist and wheel, check them, use the wheel outside the checkout
#   make bench    the benchmarks (long; see doc/results.md)
#   make papers   repeat published experiments (long; see doc/papers/how_to_repeat.md)
#   make picture  redraw the pictures of the README and of the first page
#   make clean    remove everything the targets above have made
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= examples/output
BENCHMARKS ?= quality speed scaling text
PAPERS ?= $(basename $(notdir $(wildcard benchmarks/papers/[a-z]*.py)))
PAPERS_ARGS ?=
# One process per core; PYTEST_WORKERS=0 runs the tests in one process.
PYTEST_WORKERS ?= auto
PYTEST_ARGS ?=
# These want data sets that have to be fetched, or simulate them.
STUDIES := examples/plot_gene_expression.py examples/plot_text_logistic.py
EXAMPLES ?= $(filter-out $(STUDIES),$(wildcard examples/*.py))

# Many small factorizations lose more to threads than they win, and a fixed
# number of threads makes timings and the last digits comparable.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export VECLIB_MAXIMUM_THREADS ?= 1
export MPLBACKEND ?= Agg

.DEFAULT_GOAL := help
.PHONY: help demo examples test lint format docs package bench papers picture clean
# Stamps are the point of the pattern rule below, not intermediate files.
.SECONDARY:

help:
	@sed -n '2,11s/^#   //p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp per extra, so that each is installed once and again when
# pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	@touch $@

demo: $(VENV)/.installed-test
	$(BIN)/python examples/plot_demo.py --output $(OUTPUT)/demo.png

examples: $(VENV)/.installed-test
	@for script in $(EXAMPLES); do \
	  echo "$(BIN)/python $$script"; $(BIN)/python $$script || exit 1; \
	done

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal \
	  --doctest-modules $(PYTEST_ARGS) tests skbilevel

lint: $(VENV)/.installed-test $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd tests/typing && $(abspath $(BIN))/mypy --config-file= --strict consumer.py
	$(BIN)/lint-imports

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-doc
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html doc doc/_build/html
	@echo "open doc/_build/html/index.html"

package: $(VENV)/.installed-package
	PYTHON=$(BIN)/python .ci/check_package.sh

bench: $(VENV)/.installed-bench
	@for name in $(BENCHMARKS); do \
	  echo "$(BIN)/python benchmarks/$$name.py"; \
	  $(BIN)/python benchmarks/$$name.py || exit 1; \
	done

papers: $(VENV)/.installed-bench
	@for name in $(PAPERS); do \
	  echo "$(BIN)/python benchmarks/papers/$$name.py $(PAPERS_ARGS)"; \
	  $(BIN)/python benchmarks/papers/$$name.py $(PAPERS_ARGS) || exit 1; \
	done

# The others are what their scripts leave drawn.
picture: $(VENV)/.installed-test
	$(BIN)/python examples/plot_demo.py --output doc/_static/demo.png
	$(BIN)/python -c "import runpy, matplotlib.pyplot as plt; \
	  runpy.run_path('examples/plot_many_strengths.py'); \
	  plt.savefig('doc/_static/many_strengths.png', dpi=120)"
	$(BIN)/python -c "import runpy, matplotlib.pyplot as plt; \
	  runpy.run_path('examples/plot_claims.py'); \
	  plt.savefig('doc/_static/terms.png', dpi=80)"

clean:
	rm -rf $(VENV) .venv-lint .venv-floor examples/output benchmarks/output
	rm -rf doc/_build doc/auto_examples doc/generated doc/sg_execution_times.rst
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	rm -rf .import_linter_cache tests/typing/.mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
