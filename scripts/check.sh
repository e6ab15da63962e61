#!/usr/bin/env bash
# Formatting, lints and the laws of the house: what a change must pass before anybody reads it.
. "$(dirname "$0")/tested.sh"

scripts/setup.sh check
offline_if_complete
say "check: formatting"
cargo fmt --all --check
say "check: lints"
cargo clippy --quiet "${TESTS[@]}" --all-targets --keep-going -- -D warnings
say "check: laws"
cargo test --quiet "${TESTS[@]}" --test laws
say "check: scripts"
for script in .ci/run scripts/*.sh scripts/test/*.sh; do
    bash -n "$script"
done
