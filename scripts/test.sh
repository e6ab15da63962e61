#!/usr/bin/env bash
# Runs the steps of scripts/test/ in order, each timed, bounded and logged on its own.
#
#   scripts/test.sh            all of them
#   scripts/test.sh 40 80      those whose name begins so
#
# A step is a script `NN-name.sh`. Its second line `# title` says what it proves, `# limit_s: N` how
# long it may take. One that fails doesn't keep the others from running; the summary tells.
. "$(dirname "$0")/env.sh"

LOGS="$CARGO_TARGET_DIR/test-logs"
HEARTBEAT_S=30
TAIL_LINES=60
passed=0
failed=0
summary=()
child=

# Ends the step that runs and everything it started.
end_child() {
    [ -z "$child" ] || kill -TERM -- "-$child" 2>/dev/null || true
}
trap 'end_child; exit 130' INT TERM

# Says every half minute where a long step is, so that a silent terminal means trouble.
watch() {
    local log="$1" began="$2" next=$((SECONDS + HEARTBEAT_S))
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        if [ "$SECONDS" -ge "$next" ]; then
            next=$((SECONDS + HEARTBEAT_S))
            printf '       %4d s  %.90s\n' $((SECONDS - began)) "$(tail -n 1 "$log" | tr -d '\033' | tr '\r' ' ')"
        fi
    done
}

run_step() {
    local step="$1" name log began title limit status=0
    name="$(basename "$step" .sh)"
    log="$LOGS/$name.log"
    title="$(sed -n '2s/^# *//p' "$step")"
    limit="$(sed -n 's/^# limit_s: *//p' "$step" | head -n 1)"
    began=$SECONDS
    printf '  ...  %-16s %s\n' "$name" "$title"
    # A session of its own, so that a step that overruns can be ended with all it started.
    setsid timeout --kill-after=10 "${limit:-600}" bash "$step" >"$log" 2>&1 </dev/null &
    child=$!
    watch "$log" "$began"
    wait "$child" || status=$?
    end_child
    child=
    local took=$((SECONDS - began))
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        summary+=("$(printf '  ok   %-16s %5d s  %s' "$name" "$took" "$(grep -m 1 '^note: ' "$log" || true)")")
    else
        failed=$((failed + 1))
        local why="exit $status"
        [ "$status" != 124 ] || why="not done within ${limit:-600} s"
        summary+=("$(printf '  FAIL %-16s %5d s  %s; see %s' "$name" "$took" "$why" "$log")")
        tail -n "$TAIL_LINES" "$log" | sed 's/^/       | /'
    fi
    say "${summary[-1]}"
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
for step in scripts/test/*.sh; do
    if wanted "$(basename "$step")" "$@"; then run_step "$step"; fi
done

say
say "summary, $((SECONDS - began)) s in all:"
printf '%s\n' "${summary[@]}"
[ $((passed + failed)) -gt 0 ] || die "no step of scripts/test/ begins with: $*"
say
say "$passed passed, $failed failed"
[ "$failed" = 0 ]
