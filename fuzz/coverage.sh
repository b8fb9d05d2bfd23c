#!/bin/sh
# Prints how many lines of its parser each target, or each of those named, reaches with what fuzz/corpus and fuzz/found
# hold. Needs llvm-tools of the nightly compiler.
# Usage: fuzz/coverage.sh [TARGET...]
set -eu
cd "$(dirname "$0")"

# The files of src whose lines count for a target.
sources() {
    case $1 in
    address) echo core/src/address.rs ;;
    addresses) echo host/src/addresses/mod.rs host/src/addresses/entry.rs host/src/addresses/counted.rs host/src/shared.rs ;;
    answer) echo core/src/answer.rs core/src/backup_code.rs ;;
    arguments) echo core/src/flow/arguments.rs ;;
    base32) echo core/src/secret.rs ;;
    config) echo core/src/config.rs core/src/document ;;
    event) echo core/src/event.rs ;;
    file_name) echo core/src/record/file_name.rs ;;
    google | oath) echo "import/src/$1.rs" ;;
    judge) echo core/src/judge core/src/throttle ;;
    key_uri) echo core/src/key_uri.rs ;;
    meter) echo host/src/meter.rs host/src/shared.rs ;;
    migration) echo import/src/otpauth/migration.rs ;;
    network) echo core/src/network.rs ;;
    otpauth) echo import/src/otpauth/mod.rs core/src/key_uri.rs ;;
    pskc) echo import/src/pskc ;;
    recipient) echo core/src/contact.rs ;;
    secret_file) echo core/src/record/enrollment/mod.rs core/src/record/enrollment/text.rs core/src/document ;;
    slot) echo host/src/slot.rs ;;
    ssh_auth_info) echo core/src/ssh_key.rs ;;
    stack) echo ctl/src/rollout/edit.rs ;;
    state) echo core/src/record/state/bytes.rs ;;
    template) echo core/src/delivery.rs ;;
    *) echo "which lines count for $1?" >&2 && exit 1 ;;
    esac
}

bin=$(rustc +nightly --print target-libdir)/../bin
if ! [ -x "$bin/llvm-cov" ]; then
    echo "Missing: rustup component add llvm-tools --toolchain nightly" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list --fuzz-dir .)

# Not by `cargo fuzz coverage`, which builds all anew for each target.
RUSTFLAGS="-C instrument-coverage" nice cargo +nightly build --quiet --locked --bins --target-dir target/coverage
profile=$(mktemp)
trap 'rm -f "$profile" "$profile".*' EXIT
for target in "$@"; do
    mkdir -p "found/$target"
    program=target/coverage/debug/$target
    if ! find "corpus/$target" "found/$target" -type f -print0 |
        LLVM_PROFILE_FILE=$profile.%p.raw xargs -0 "$program" >"$profile.log" 2>&1; then
        tail -n 40 "$profile.log" >&2
        exit 1
    fi
    # xargs may have started it more than once.
    "$bin/llvm-profdata" merge --sparse --output "$profile" "$profile".*.raw
    rm "$profile".*.raw
    # A row for each file: its name, regions, functions and lines, each with those that are not reached and a percentage.
    "$bin/llvm-cov" report "$program" --instr-profile="$profile" |
        awk -v target="$target" -v sources="$(sources "$target")" '
            BEGIN { count = split(sources, named, " ") }
            { for (i = 1; i <= count; i++) if (index($1, "/src/" named[i])) { lines += $8; missed += $9 } }
            END { printf "%-14s %4d of %4d lines, %.2f%%\n", target, lines - missed, lines, 100 * (lines - missed) / lines }'
done
