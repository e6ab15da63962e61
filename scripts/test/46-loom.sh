#!/usr/bin/env bash
# the mailbox between threads, under every interleaving
# limit_s: 1500
# cores: 1
. "$(dirname "$0")/../env.sh"
# Another cfg means other artifacts: a folder of their own keeps the rest warm.
export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/loom"
export RUSTFLAGS="--cfg loom"
cargo test --release --package touchline-core --lib mailbox
