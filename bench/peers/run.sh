#!/usr/bin/env bash
# Starts a peer with as many open files as the host allows:
#
#   bench/peers/run.sh [NAME=VALUE ...] PROGRAM [ARGUMENT ...]
#
# The program takes this script's place, so its process id is the one that was started.
ulimit -n "$(ulimit -Hn)"
exec env "$@"
