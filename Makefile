# Two commands matter: `make up` serves the sample FAQ on this machine, `make test` runs every test.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/frontdesk-target
FRONTDESK := $(CARGO_TARGET_DIR)/release/frontdesk
VENV := $(CARGO_TARGET_DIR)/test-venv

.PHONY: up build-arm64 test check fuzz bench bench-gateway bench-runtime bench-retrieval acceptance build measured model test-tools

up: build model
	$(FRONTDESK) up --faq examples/lauki_qna.csv

build:
	cargo build --release --locked

# The program for AgentCore and Lambda, from another machine: what runs there and no more. docs/images.md says what it needs.
build-arm64:
	$(if $(RUSTC),RUSTC=$(RUSTC)) CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	cargo build --release --locked --target aarch64-unknown-linux-gnu --no-default-features --features agent,lambda,aws

# Without a network the agent searches by keywords and says so; that is no reason not to start.
model: build
	$(FRONTDESK) model pull || echo "The embedding model could not be fetched: searching by keywords."

test: test-tools
	cargo test --locked --workspace --features frontdesk/aws --no-run
	$(CARGO_TARGET_DIR)/debug/frontdesk model pull
	PATH="$(VENV)/bin:$$PATH" cargo test --locked --workspace --features frontdesk/aws --no-fail-fast

# What the tests need beyond a Rust toolchain, Python and Node: the aws CLI and boto3, the text splitter to compare with, a browser.
test-tools:
	tests/install-tools.sh "$(VENV)"

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --features frontdesk/aws --all-targets -- -D warnings
	cargo clippy --locked --workspace -- -D warnings -D clippy::unwrap_used
	cargo clippy --locked --package frontdesk --no-default-features --features agent,lambda -- -D warnings -D clippy::unwrap_used
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

# One target after the other; see fuzz/README.md.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= route mapping import patch
fuzz:
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=4096 -print_final_stats=1 || exit 1; \
	done

bench: measured
	bench/run.sh "$(FRONTDESK)"

bench-gateway: measured
	bench/gateway.sh "$(FRONTDESK)"

bench-runtime: measured
	bench/runtime.sh "$(FRONTDESK)"

bench-retrieval: measured
	bench/retrieval.sh

acceptance: measured
	tests/acceptance.sh "$(FRONTDESK)"

# What is measured, with what it is measured by: one build, for another choice of packages would build everything again.
measured:
	cargo build --release --locked --workspace --bins --examples
	$(FRONTDESK) model pull
