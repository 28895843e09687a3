#!/bin/sh
# Runs each fuzz target for FUZZ_SECONDS, one after the other; with arguments, only those targets.
#
# What is new goes to fuzz/target/corpus, beside the kept fuzz/corpus, which is only read: a person
# decides what is kept. The first input that breaks a promise ends the run, and its file is named.
set -eu

seconds=${FUZZ_SECONDS:-600}
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "coverage-guided fuzzing needs a nightly compiler; install one (it stays beside yours):" >&2
    echo "  rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
tools=$PWD/fuzz/target/tools
PATH=$PATH:$tools/bin
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz to $tools"
    cargo install --quiet --locked --root "$tools" cargo-fuzz || {
        echo "cargo-fuzz could not be installed; run this first:" >&2
        echo "  cargo install --locked cargo-fuzz" >&2
        exit 1
    }
fi

# All of it is safe Rust but for one plugin's table: what a sanitizer would find is not there.
build='--sanitizer none'
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046
    set -- $(cargo +nightly fuzz list)
    # At once, and not one after the other as they are run.
    # shellcheck disable=SC2086
    cargo +nightly fuzz build $build
fi
for target in "$@"; do
    found=fuzz/target/corpus/$target
    mkdir -p "$found"
    echo "fuzzing $target for $seconds s"
    log=fuzz/target/$target.log
    # shellcheck disable=SC2086
    cargo +nightly fuzz run $build "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -print_final_stats=1 >"$log" 2>&1 || {
        tail -n 60 "$log" >&2
        echo "$target is broken; keep the input in fuzz/corpus/$target once it is mended" >&2
        exit 1
    }
    grep -E 'number_of_executed_units|new_units_added' "$log"
    # Places in the code that were reached, and ways to reach them.
    grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -n 1
done
