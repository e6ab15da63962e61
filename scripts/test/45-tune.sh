#!/usr/bin/env bash
# the host doctor: real sysctls in a namespace, one of the host, trees of files
# limit_s: 900
. "$(dirname "$0")/../env.sh"
cargo test --package touchline-tuning
cargo test --package touchline-tests --test tune
