#!/bin/sh
# A thousand policies, ten a second, of 10,000 rules each: under full engine load, and under traffic between namespaces.
#
#   applies.sh [APPLIES] [RULES]        1,000 and 10,000 unless said; two lines of JSON on standard output
#
# The second part wants root and two cores; it is left out without, and the script says so. It builds what it runs; a
# fault (a frame lost, a batch judged by two policies, a revoked flow that lives on) ends it with another status than 0.
set -eu

applies=${1:-1000}
rules=${2:-10000}
cd "$(dirname "$0")/.."

cargo build --release --locked -q -p bulkhead-perf
"${CARGO_TARGET_DIR:-target}/release/bulkhead-perf" applies --applies "$applies" --rules "$rules" --json

[ "$(id -u)" -eq 0 ] || { echo "applies.sh: without root there are no namespaces: that part is left out" >&2; exit 0; }
said=$(BULKHEAD_APPLIES=$applies BULKHEAD_RULES=$rules \
	cargo test --release --locked -q -p bulkhead --test live_applies -- --nocapture) || { echo "$said" >&2; exit 1; }
echo "$said" | grep '^{'
