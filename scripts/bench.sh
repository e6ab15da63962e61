#!/usr/bin/env bash
# Measures this host: every row of docs/performance.md against its floor, then the benches of single parts.
#   scripts/bench.sh              all of it, about 75 minutes; replaces the table in docs/performance.md
#   scripts/bench.sh --row hot    one row (see `touchline-bench run --help` for the rest); the table stays
#   scripts/bench.sh --quick      does it work at all? seconds; the table stays
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
esac

cargo build --release --quiet -p touchline -p touchline-bench
binaries="${CARGO_TARGET_DIR:-target}/release"
results="${CARGO_TARGET_DIR:-target}/bench"
mkdir -p "$results"

if [ $# -gt 0 ]; then
  exec "$binaries/touchline-bench" run --out "$results/results.jsonl" "$@"
fi

"$binaries/touchline-bench" run --out "$results/results.jsonl" --table docs/performance.md
# Its own question: whether memory stays where it is while every source is in trouble.
"$binaries/touchline-bench" run --scenario trouble --pairs 1 --out "$results/trouble.jsonl"
cargo bench --quiet -p touchline-bench -- --warm-up-time 1 --measurement-time 3
echo "Results: $results/results.jsonl, $results/trouble.jsonl, docs/performance.md, ${CARGO_TARGET_DIR:-target}/criterion"
