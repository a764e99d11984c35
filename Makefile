# `make test` needs Rust, gcc, Python and apt; what else the tests need it installs. `make express` asks npm for two
# packages, too.
.DEFAULT_GOAL := help
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help test lint bench compare large faults express release tools

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

test: tools ## Install what the tests need, and run them
	cargo test

lint: ## Check formatting, and deny every warning
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

bench: ## Time what a known credential costs
	cargo bench

compare: ## Compare what a request costs with haproxy and nginx, side by side
	@command -v haproxy >/dev/null && command -v nginx >/dev/null && command -v h2load >/dev/null && command -v openssl >/dev/null && command -v python3 >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends haproxy nginx-light nghttp2-client openssl python3; }
	cargo build --release --locked
	python3 benches/compare/compare.py

large: tools ## Time lists, searches and revocations among 100,000 keys, on both stores
	cargo test --test store large -- --ignored --nocapture --test-threads 1

faults: tools ## Break network, Redis and gateways in every way, and look for keys that outlive their revocation
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends faketime; }
	cargo test --test faults -- --ignored --nocapture --test-threads 1

express: tools ## Compare routes and tokens with OpenBin's own router and verifier, run by Node
	cargo test --test express -- --ignored --nocapture

release: ## Build the binary as it is shipped
	cargo build --release --locked

tools:
	@command -v redis-server >/dev/null && command -v curl >/dev/null && command -v git >/dev/null && command -v node >/dev/null && command -v npm >/dev/null && { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server curl git nodejs npm postgresql; }
