# Every target sets up what it needs, the first time; later runs work without a network.
# Paths are relative throughout: the folder of the clone may have spaces in its name.

VENV := .venv
PY := $(VENV)/bin/python
PIP_OPTIONS := --quiet --disable-pip-version-check --constraint constraints.txt
# The file names versions only: no folder, no index, no way in which a package got there.
COMPILE := --universal --python-version 3.11 --all-extras --no-annotate --custom-compile-command 'make newest'
# Further arguments for the tool that a target runs: make test ARGS="-k tracker"
ARGS ?=

# Without byte code on disk, each worker of the tests would compile every module, each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint format bench screenshots newest clean FORCE

help: ## Say what each target does
	@echo "make <target> [ARGS='...'] [PYTHON=python3.12]   (PYTHON counts when $(VENV) is made)"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/\1|\2/p' Makefile \
	  | while IFS='|' read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.ready-demo ## Run a telescope command on 18 simulated TANGO devices, three times, then analyses of a scan
	@"$(PY)" -m taskgrove demo $(ARGS)

test: $(VENV)/.ready-test ## Run the test suite
	"$(PY)" -m pytest $(ARGS)

test-all: $(VENV)/.ready-test ## Run all tests, the thorough ones too, with many more examples of each property
	"$(PY)" -m pytest --hypothesis-profile=thorough -m '' $(ARGS)

lint: $(VENV)/.ready-dev ## Check style, types and the direction of imports
	"$(PY)" -m ruff check .
	"$(PY)" -m ruff format --check .
	"$(PY)" -m mypy
	"$(VENV)/bin/lint-imports"

format: $(VENV)/.ready-dev ## Put the code into the house style
	"$(PY)" -m ruff check --fix .
	"$(PY)" -m ruff format .

bench: $(VENV)/.ready-test ## Measure speed and memory, as ratios within one run
	"$(PY)" -m benchmarks $(ARGS)

screenshots: $(VENV)/.ready-test ## Take pictures of the page and of the terminal, in build/screenshots and docs/images
	"$(PY)" docs/make_pictures.py $(ARGS)

newest: $(VENV)/.ready-dev ## Take the newest versions of all packages into constraints.txt, and say what changed
	@cp constraints.txt $(VENV)/constraints.before
	@"$(PY)" -m uv --quiet pip compile --upgrade $(COMPILE) --output-file constraints.txt pyproject.toml >/dev/null
	@diff --old-line-format='- %L' --new-line-format='+ %L' --unchanged-line-format='' \
	  $(VENV)/constraints.before constraints.txt && echo "constraints.txt has the newest versions already" || [ $$? -eq 1 ]

clean: ## Remove everything that the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- set-up ---------------------------------------------------------------------------------
# constraints.txt holds the version of every package, for each Python: a clone made next year gets
# what was tested today. The build backend is installed by it, too: pip would take the newest one.
# One stamp for each set of extras. A stamp older than pyproject.toml or constraints.txt, or
# written when the clone stood elsewhere (an editable install holds the absolute path), is made
# anew, and so is an environment whose Python is gone.

ifneq "$(shell test -x $(PY) && cat $(VENV)/.place 2>/dev/null)" "$(shell pwd)"
$(VENV)/.created: FORCE
endif

$(VENV)/.ready-%: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Setting up $(VENV) for '$*' (once; about a minute) ..."
	@"$(PY)" -m pip install $(PIP_OPTIONS) hatchling editables && \
	"$(PY)" -m pip install $(PIP_OPTIONS) --no-build-isolation --editable '.[$*]' || { \
	  echo "make: could not install taskgrove with its extra '$*'; this step needs a package index" >&2; \
	  exit 1; }
	@# dev holds test, and test holds demo: what came along need not be installed again.
	@case '$*' in dev) touch $(VENV)/.ready-test $(VENV)/.ready-demo;; test) touch $(VENV)/.ready-demo;; esac
	@touch $@

$(VENV)/.created:
	@set -e; \
	python=""; found=""; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11 python); do \
	  command -v "$$candidate" >/dev/null 2>&1 || continue; \
	  found="$$found $$candidate ($$("$$candidate" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo '?'))"; \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: taskgrove needs Python 3.11 or newer; found:$${found:- no $(or $(PYTHON),python3)}" >&2; \
	  echo "      name one with: make $(or $(firstword $(MAKECMDGOALS)),demo) PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "make: $$python cannot make a virtual environment: its modules venv and ensurepip are missing" >&2; \
	  echo "      on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; fi; \
	"$(PY)" -c '' 2>/dev/null || rm -rf $(VENV); \
	"$$python" -m venv $(VENV); \
	if ! "$(PY)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo "make: $(VENV) was made with an older Python; remove it with: make clean" >&2; exit 1; fi; \
	pwd > $(VENV)/.place; \
	rm -f $(VENV)/.ready-*; \
	touch $@
