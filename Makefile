# Bulkhead, from a clean machine: `make run` shows it, `make test` checks it. `make help` lists the rest.
#
# A Rust toolchain is all that must be there before; what else is missing, and can be installed, is.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# How long each fuzz target runs, and under which sanitizer all but the first of them do.
FUZZ_SECONDS ?= 600
SANITIZER ?= none

# cc to m4: libxdp and libbpf are compiled in. The last five are run: by the tests and the demo, to lay wires
# between network namespaces and to ping over them, to collect flows, and to count instructions.
PACKAGES := gcc libc6-dev make pkg-config clang m4 libelf-dev zlib1g-dev iproute2 ethtool iputils-ping nfdump valgrind

TARGET := $(or $(CARGO_TARGET_DIR),target)
PROGRAM := $(TARGET)/release/bulkhead
PERF := $(TARGET)/release/bulkhead-perf
# Filter sets of other projects, which are no part of this one: what needs them is left out where they are missing.
FILTER_SETS := ../shared/classbench
VERIFY := $(PERF) verify --quiet
SAMPLE := configs/samples/three-tier.pcap

# rustup's folder, which a login shell has in its path and others may not.
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help run replay test check portable verify fuzz assurance mutants build bench install deb packages toolchain
.DEFAULT_GOAL := help

help: ## List what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | while IFS='	' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

run: build ## Show the gateway at work: between three network namespaces as root, else on a sample capture
	@if [ "$$(id -u)" -eq 0 ]; then \
		exec $(PROGRAM) demo; \
	else \
		echo "make run: the live demo needs root for its network namespaces; here is a replay instead"; \
		$(PROGRAM) replay -c configs/three-tier.toml --in trunk0=$(SAMPLE) --verdicts -; \
	fi

replay: build ## Judge the sample capture, a line per frame; needs no rights
	@$(PROGRAM) replay -c configs/three-tier.toml --in trunk0=$(SAMPLE) --verdicts -

test: check portable ## All checks: format, lints, every test (those with namespaces as root), tables held against the scan, instructions a packet
	$(CARGO) test --workspace --locked
	$(CARGO) build --release --locked -p bulkhead-perf
	$(VERIFY) --rules 20000 --segments 500 --prefixes 5000 --v6 0.3 --varied --entangled 200 --packets 200000 \
		--scanned 500
	@if [ -d $(FILTER_SETS) ]; then \
		$(VERIFY) --classbench $(FILTER_SETS) --packets 200000 --scanned 500; \
	else \
		echo "make test: there is no $(FILTER_SETS): its filter sets are not verified"; \
	fi
	$(PERF) engine --flows 1000 --rules 100 --size 64 --seconds 1 --json
	perf/callgrind/instructions.sh $(PERF)

check: packages toolchain ## Format and lints, and licences where cargo-deny is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check; fi

portable: toolchain ## Test the tables and flows without the instructions of x86-64, as on any other processor
	RUSTFLAGS="--cfg bulkhead_portable" $(CARGO) test -p classifier -p conntrack --locked \
		--target-dir $(TARGET)/portable

verify: build ## Ten million packets for each policy: tables and linear scan say the same, on all instructions
	$(PERF) verify --rules 200000 --segments 2000 --prefixes 20000 --varied --entangled 200 --packets 10000000
	$(PERF) verify --rules 200000 --segments 2000 --prefixes 20000 --v6 0.5 --packets 10000000
	$(PERF) verify --rules 1600000 --segments 10000 --prefixes 100000 --packets 10000000
	@if [ -d $(FILTER_SETS) ]; then $(PERF) verify --classbench $(FILTER_SETS) --packets 10000000; fi

fuzz: toolchain ## Fuzz each target for FUZZ_SECONDS (600); needs rustup's nightly
	@command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked
	$(CARGO) +nightly fuzz run policy -- -max_len=4096 -len_control=0 -timeout=60 -max_total_time=$(FUZZ_SECONDS)
	for target in state tcp fragments frame; do \
		$(CARGO) +nightly fuzz run --sanitizer $(SANITIZER) --no-trace-compares $$target -- \
			-max_len=512 -len_control=0 -timeout=60 -max_total_time=$(FUZZ_SECONDS) || exit; \
	done

assurance: toolchain ## A million random connections, tracker = model; Miri over what it can run
	BULKHEAD_SEQUENCES=1000000 $(CARGO) test --release -p conntrack --lib --locked random_connections -- --nocapture
	rustup +nightly component add miri rust-src
	MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +nightly miri test -p conntrack --lib --locked \
		-- memory:: index:: wheel::

mutants: toolchain ## Mutation testing of tracker, TCP and fragment code: hours
	@command -v cargo-mutants >/dev/null || $(CARGO) install cargo-mutants --locked
	BULKHEAD_SEQUENCES=1000 PROPTEST_CASES=64 $(CARGO) mutants

build: packages toolchain ## Build the programs into target/release
	$(CARGO) build --workspace --release --locked

bench: build ## Measure the engine: frames from memory, one core
	$(PERF) engine --flows 10000 --rules 1000 --size 64 --seconds 5
	$(PERF) engine --flows 1000000 --rules 1000 --size 64 --seconds 5
	$(PERF) engine --flows 10000 --rules 100000 --size 64 --seconds 5

install: build ## Install into PREFIX (/usr/local): the program, its manual pages and completions
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/bulkhead
	$(PROGRAM) man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(PROGRAM) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/bulkhead
	$(PROGRAM) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_bulkhead
	$(PROGRAM) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/bulkhead.fish

deb: build ## Build a Debian package into target/debian: program, unit, manual pages, completions, samples
	@command -v cargo-deb >/dev/null || $(CARGO) install cargo-deb --locked
	rm -rf target/deb && mkdir -p target/deb
	$(PROGRAM) man target/deb/man
	$(PROGRAM) completions bash > target/deb/bulkhead.bash
	$(PROGRAM) completions zsh > target/deb/bulkhead.zsh
	$(PROGRAM) completions fish > target/deb/bulkhead.fish
	$(CARGO) deb -p bulkhead --no-build --output target/debian/
	@if command -v systemd-analyze >/dev/null; then cli/debian/verify.sh target/debian/bulkhead_*.deb; else \
		echo "make deb: there is no systemd-analyze: the unit is not verified"; fi

packages:
	@command -v dpkg-query >/dev/null || { \
		echo "make: not a Debian system; what the build needs is called there: $(PACKAGES)"; exit 0; }; \
	missing=; for package in $(PACKAGES); do \
		dpkg-query -W -f='$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed \
			|| missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" -ne 0 ]; then \
		echo "make: packages are missing; as root: apt-get install$$missing" >&2; exit 1; \
	fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -q update && apt-get -qy --no-install-recommends install $$missing

toolchain:
	@command -v $(CARGO) >/dev/null || { \
		echo "make: there is no cargo: install a Rust toolchain with rustup, then come back" >&2; exit 1; }
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 \
		|| rustup component add rustfmt clippy
