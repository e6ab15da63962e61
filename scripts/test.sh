#!/usr/bin/env bash
# Runs the steps of scripts/test/ in order, each timed, bounded and logged on its own.
#
#   scripts/test.sh            all of them
#   scripts/test.sh 40 80      those whose name begins so
#
# A step is a script `NN-name.sh`. Its second line `# title` says what it proves, `# limit_s: N` how
# long it may take. One with `# cores: N` needs no more than that, and measures nothing: such steps run
# side by side as far as the host's cores go. One without has the host to itself. `# needs: STEP` brings
# that one along. A step that fails doesn't keep the others from running; the summary tells.
. "$(dirname "$0")/env.sh"

LOGS="$CARGO_TARGET_DIR/test-logs"
HEARTBEAT_S=30
TAIL_LINES=60
CORES="$(nproc)"
passed=0
failed=0
summary=()
# What runs, by process: its step, when it began, the cores it was given, when it speaks next.
declare -A running=() began_at=() cores_of=() speaks_at=()
busy=0

# Ends a step and everything it started.
end_step() { kill -TERM -- "-$1" 2>/dev/null || true; }
end_all() {
    local pid
    for pid in "${!running[@]}"; do end_step "$pid"; done
}
trap 'end_all; exit 130' INT TERM

name_of() { basename "$1" .sh; }
header() { sed -n "s/^# $2: *//p" "$1" | head -n 1; }

# The cores that a step is given.
cores_for() {
    local cores
    cores="$(header "$1" cores)"
    [ -n "$cores" ] && [ "$cores" -lt "$CORES" ] || cores="$CORES"
    echo "$cores"
}

start_step() {
    local step="$1" cores="$2" name limit pid
    name="$(name_of "$step")"
    limit="$(header "$step" limit_s)"
    printf '  ...  %-16s %s\n' "$name" "$(sed -n '2s/^# *//p' "$step")"
    # A session of its own, so that a step that overruns can be ended with all it started.
    setsid timeout --kill-after=10 "${limit:-600}" bash "$step" >"$LOGS/$name.log" 2>&1 </dev/null &
    pid=$!
    running[$pid]="$step"
    began_at[$pid]=$SECONDS
    speaks_at[$pid]=$((SECONDS + HEARTBEAT_S))
    cores_of[$pid]="$cores"
    busy=$((busy + cores))
}

# Says every half minute where a long step is, so that a silent terminal means trouble.
speak() {
    local pid="$1" name
    [ "$SECONDS" -ge "${speaks_at[$pid]}" ] || return 0
    speaks_at[$pid]=$((SECONDS + HEARTBEAT_S))
    name="$(name_of "${running[$pid]}")"
    printf '       %-16s %4d s  %.80s\n' "$name" $((SECONDS - began_at[$pid])) \
        "$(tail -n 1 "$LOGS/$name.log" | tr -d '\033' | tr '\r' ' ')"
}

finish_step() {
    local pid="$1" name log limit took note status=0
    wait "$pid" || status=$?
    end_step "$pid"
    name="$(name_of "${running[$pid]}")"
    log="$LOGS/$name.log"
    limit="$(header "${running[$pid]}" limit_s)"
    took=$((SECONDS - began_at[$pid]))
    busy=$((busy - cores_of[$pid]))
    unset "running[$pid]" "began_at[$pid]" "cores_of[$pid]" "speaks_at[$pid]"
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        summary+=("$(printf '  ok   %-16s %5d s' "$name" "$took")")
    else
        failed=$((failed + 1))
        local why="exit $status"
        [ "$status" != 124 ] || why="not done within ${limit:-600} s"
        summary+=("$(printf '  FAIL %-16s %5d s  %s; see %s' "$name" "$took" "$why" "$log")")
        tail -n "$TAIL_LINES" "$log" | sed 's/^/       | /'
    fi
    say "${summary[-1]}"
    # What failed, what couldn't be tested here, and what was found by chance, once each.
    while IFS= read -r note; do
        summary+=("$(printf '       %-16s          %s' '' "$note")")
        say "${summary[-1]}"
    done < <(grep -E '^(failed|unsteady|not ok|left out|new seed)[: ]' "$log" | sort -u)
}

# Waits until no more than this many cores are taken.
await_cores() {
    local pid
    while [ "$busy" -gt "$1" ]; do
        sleep 0.2
        for pid in "${!running[@]}"; do
            if kill -0 "$pid" 2>/dev/null; then speak "$pid"; else finish_step "$pid"; fi
        done
    done
}

wanted() {
    local name="$1" prefix
    shift
    [ $# -gt 0 ] || return 0
    for prefix in "$@"; do
        case "$name" in "$prefix"*) return 0 ;; esac
    done
    return 1
}

mkdir -p "$LOGS"
began=$SECONDS
scripts/setup.sh all
offline_if_complete
steps=" "
for step in scripts/test/*.sh; do
    if wanted "$(basename "$step")" "$@"; then steps+="$(header "$step" needs) $(name_of "$step") "; fi
done
for step in scripts/test/*.sh; do
    case "$steps" in *" $(name_of "$step") "*) ;; *) continue ;; esac
    cores="$(cores_for "$step")"
    await_cores $((CORES - cores))
    start_step "$step" "$cores"
done
await_cores 0

say
say "summary, $((SECONDS - began)) s in all:"
printf '%s\n' "${summary[@]}"
[ $((passed + failed)) -gt 0 ] || die "no step of scripts/test/ begins with: $*"
say
say "$passed passed, $failed failed"
[ "$failed" = 0 ]
