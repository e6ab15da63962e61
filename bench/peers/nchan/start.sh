#!/usr/bin/env bash
# start.sh PORT: nginx in the foreground with nginx.conf filled in.
set -euo pipefail
into="${TOUCHLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/touchline}/peers/nchan"
files="$(ulimit -Hn)"
ulimit -n "$files"

# Of servers that were killed a file or two remain.
find "$into/run" -type f -mmin +1440 -delete
run="$into/run/$1"
sed "s|INTO|$into|g; s|RUN|$run|g; s|USER|$(id -un)|g; s|PORT|$1|g
    s|CONNECTIONS|$((files - 200))|g" "$into/nginx.conf" >"$run.conf"
exec "$into/usr/sbin/nginx" -p "$into" -e stderr -c "$run.conf"
