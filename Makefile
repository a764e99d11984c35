# `make test` needs Rust, gcc, Python and apt; what else the tests need it installs. `make express` asks npm for two
# packages, too.
.DEFAULT_GOAL := help
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
INSTALL = $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
# Of these commands each is there, or these packages are installed.
have = for each in $(1); do command -v $$each >/dev/null || { $(INSTALL) $(2) || exit 1; break; }; done

.PHONY: help test lint bench compare pgo large soak faults model express parity fuzz release tools

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

test: tools ## Install what the tests need, and run them
	cargo test

lint: ## Check formatting, and deny every warning
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

bench: ## Time what the gateway adds to a request, piece by piece
	cargo bench

COMPARE ?=
compare: ## Compare what a request costs with haproxy and nginx, side by side; COMPARE=--quick takes two minutes
	@$(call have,haproxy nginx h2load strace openssl python3,haproxy nginx-light nghttp2-client strace openssl python3)
	cargo build --release --locked
	python3 benches/compare/compare.py $(COMPARE)

# Ordinary code that records what it does is quicker to build, and its profile fits the whole program's build, too.
# A target of its own, so that nothing that only runs while building is recorded.
PGO := $(CURDIR)/target/pgo
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
pgo: ## Build the binary twice, the second time arranged by what it did in a run; some 15 minutes on two cores
	@$(call have,nginx h2load openssl python3,nginx-light nghttp2-client openssl python3)
	@ls $$(rustc --print sysroot)/lib/rustlib/$(HOST)/bin/llvm-profdata >/dev/null 2>&1 || rustup component add llvm-tools
	rm -rf $(PGO)/recorded
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 RUSTFLAGS="-Cprofile-generate=$(PGO)/recorded" cargo build --release --locked --target $(HOST) --target-dir $(PGO)/recording
	python3 benches/compare/train.py $(PGO)/recording/$(HOST)/release/openbin-gateway
	$$(rustc --print sysroot)/lib/rustlib/$(HOST)/bin/llvm-profdata merge -o $(PGO)/profile $(PGO)/recorded
	RUSTFLAGS="-Cprofile-use=$(PGO)/profile" cargo build --release --locked --target $(HOST) --target-dir $(PGO)/arranged
	@echo "built $(PGO)/arranged/$(HOST)/release/openbin-gateway"

large: tools ## Time lists, searches and revocations among 100,000 keys, on both stores
	cargo test --test store large -- --ignored --nocapture --test-threads 1

soak: tools ## Tell what connections, large bodies and streams cost; best with nothing else running
	ulimit -n 20000 && cargo test --test gateway soak -- --include-ignored --nocapture --test-threads 1

faults: tools ## Break network, Redis and gateways in every way, and look for keys that outlive their revocation
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || { $(INSTALL) faketime; }
	cargo test --test faults -- --ignored --nocapture --test-threads 1

model: ## Look at more orders of events in which gateways confirm revocations to each other
	cargo test --release --test model -- --ignored --nocapture --test-threads 1

express: tools ## Compare routes and tokens with OpenBin's own router and verifier, run by Node
	cargo test --test express -- --ignored --nocapture

parity: tools ## Decide 100,000 requests twice: at OpenBin's double, and through a gateway in front of it
	cargo test --test selftest -- --ignored --nocapture

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= head cookie guard requests answer proxy token configuration record change audit redaction
fuzz: ## Fuzz each target for FUZZ_SECONDS, from its seeds on
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do mkdir -p fuzz/corpus/$$target; (cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none $$target corpus/$$target seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1) || exit 1; done

release: ## Build the binary as it is shipped
	cargo build --release --locked

tools:
	@command -v redis-server >/dev/null && command -v curl >/dev/null && command -v git >/dev/null && command -v node >/dev/null && command -v npm >/dev/null && { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || { $(INSTALL) redis-server curl git nodejs npm postgresql; }
