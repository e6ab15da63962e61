#!/usr/bin/env bash
# Fuzzes what clients send: each target for SECONDS (20 by default), from its seeds and from what earlier runs found.
#
#   tests/fuzz/run.sh [SECONDS] [TARGET...]
#
# cargo-fuzz is installed once below $TOUCHLINE_CACHE (by default ~/.cache/touchline), where builds and found inputs
# stay as well. No nightly toolchain is needed: RUSTC_BOOTSTRAP lets the stable one take the sanitizer's flags. A C++
# compiler is, for libFuzzer's runtime. A failure leaves its input in tests/fuzz/artifacts and prints the command that
# reproduces it.
set -euo pipefail

cargo_fuzz_version=0.13.1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TOUCHLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/touchline}
tools=$cache/tools
seconds=${1:-20}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(handshake frames request query proxy)

if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "fuzz: SECONDS must be a whole number above 0, not '$seconds'" >&2
    exit 2
fi
if ! command -v c++ >/dev/null; then
    echo "fuzz: libFuzzer's runtime needs a C++ compiler; install g++" >&2
    exit 1
fi
export PATH=$tools/bin:$PATH
if ! command -v cargo-fuzz >/dev/null; then
    cargo install --quiet --locked --version "$cargo_fuzz_version" --root "$tools" cargo-fuzz
fi

export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$cache/fuzz-target
cargo fuzz build --fuzz-dir "$here"
for target in "${targets[@]}"; do
    found=$cache/fuzz-corpus/$target
    mkdir -p "$found"
    echo "fuzz: $target for $seconds s"
    # 4 KiB reach every branch; a timeout or more than 512 MB is a finding.
    cargo fuzz run --fuzz-dir "$here" "$target" "$found" "$here/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=512 \
        -print_final_stats=0 -verbosity=0
done
echo "fuzz: nothing found"
