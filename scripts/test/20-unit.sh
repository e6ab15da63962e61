#!/usr/bin/env bash
# what each crate says about itself
# limit_s: 1500
. "$(dirname "$0")/../env.sh"
cargo test --workspace --exclude touchline --exclude touchline-tests
