#!/usr/bin/env bash
# As many sockets as this host holds, both ends of each on it: scenario `scale` at 250,000, then at
# 1,000,000, and a page of what came of it.
#   scripts/bench-scale.sh             both
#   scripts/bench-scale.sh 250000      these
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
esac

cargo build --release --quiet -p touchline -p touchline-bench
binaries="${CARGO_TARGET_DIR:-target}/release"
results="${CARGO_TARGET_DIR:-target}/bench"
mkdir -p "$results"

[ $# -gt 0 ] || set -- 250000 1000000
files=()
failed=0
for sockets in "$@"; do
  # Two ends of 4.2 KB in the kernel, half a kilobyte of the server's and as much of the clients'.
  need_kib=$((sockets * 95 / 10))
  have_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  if [ "$have_kib" -lt "$need_kib" ]; then
    echo "bench-scale: $sockets sockets need about $((need_kib / 1024)) MiB, $((have_kib / 1024)) are free" >&2
    exit 1
  fi
  file="$results/scale-$sockets.jsonl"
  # What didn't come out as expected is said, and shown on the page.
  "$binaries/touchline-bench" run --scenario scale --sockets "$sockets" --pairs 1 --out "$file" || failed=1
  files+=("$file")
done
"$binaries/touchline-bench" report "${files[@]}" --html "$results/scale.html"
echo "Results: ${files[*]}, $results/scale.html"
exit "$failed"
