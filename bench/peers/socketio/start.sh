#!/usr/bin/env bash
# start.sh PORT REDIS_PORT: Redis beside Node, which takes this script's place. Redis ends with it.
set -euo pipefail
into="${TOUCHLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/touchline}/peers/socketio"
ulimit -n "$(ulimit -Hn)"

# Nothing is kept on the disk: Redis is a relay here.
LD_LIBRARY_PATH="$into/libraries" setpriv --pdeathsig KILL "$into/usr/bin/redis-server" \
    --bind 127.0.0.1 --port "$2" --save "" --appendonly no --dir "$into" \
    --loglevel warning </dev/null &

exec env NODE_ENV=production node "$into/server.mjs" "$1" "$2"
