#!/usr/bin/env bash
# all tests and the program, built once; examples in the documentation
# limit_s: 2400
. "$(dirname "$0")/../tested.sh"
build_tested
cargo test "${TESTS[@]}" --doc
