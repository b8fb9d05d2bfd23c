#!/bin/sh
# Fuzzes each target, or those named, for so many seconds, and prints what came of it. Needs a nightly compiler and
# cargo-fuzz. What is found is kept in fuzz/found, what breaks a promise in fuzz/artifacts.
# Usage: fuzz/run.sh SECONDS [TARGET...]
set -eu
cd "$(dirname "$0")"

seconds=$1
shift
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "Missing: rustup toolchain install nightly && cargo install --locked cargo-fuzz" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list --fuzz-dir .)

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# No sanitizer of addresses: it takes most of the time, and looks for what code without unsafe can't do.
cargo +nightly fuzz build --fuzz-dir . --sanitizer none
for target in "$@"; do
    mkdir -p "found/$target"
    if ! nice -n 19 cargo +nightly fuzz run --fuzz-dir . --sanitizer none "$target" "found/$target" "corpus/$target" \
        -- -max_total_time="$seconds" -timeout=60 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        exit 1
    fi
    # The last line of progress: #EXECUTIONS DONE cov: EDGES ft: FEATURES corp: FILES/BYTES ...
    awk -v target="$target" '
        /^#[0-9]+[ \t]+DONE/ { sub("#", "", $1); executions = $1; edges = $4; features = $6; split($8, corpus, "/") }
        /^Done .* runs in/ { seconds = $5 }
        END { printf "%-14s %10d executions in %d s, %d edges, %d features, %d inputs kept\n",
              target, executions, seconds, edges, features, corpus[1] }' "$log"
done
