# Sourced by what builds and runs tests, so that all of it is built once. Not to be run.
#
# Cargo builds a crate anew for each set of features, and each choice of packages makes a set of its
# own. So there is one build of all tests, of the whole workspace, and the steps run what came of it
# without asking cargo again. The program's own binaries are built apart, without the hooks that tests
# have in the crates, and are put aside, because a build of tests leaves its own in the same place.

. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# What cargo is given by everyone who builds tests.
TESTS=(--workspace --features touchline-tests/echo)
TESTED="$CARGO_TARGET_DIR/tested"
export TOUCHLINE_BINARY="$TESTED/touchline" TOUCHLINE_BENCH_BINARY="$TESTED/touchline-bench"

build_tested() {
    local name
    rm -rf "$TESTED"
    mkdir -p "$TESTED"
    cargo test "${TESTS[@]}" --no-run --message-format json-render-diagnostics >"$TESTED/messages"
    list_tests <"$TESTED/messages" >"$TESTED/tests"
    # Autobahn's server is one of the hooks.
    cp -p "$CARGO_TARGET_DIR/debug/ws_echo" "$TESTED/"
    cargo build --workspace --bins
    for name in touchline touchline-bench simulate; do
        cp -p "$CARGO_TARGET_DIR/debug/$name" "$TESTED/"
    done
}

# Of each test binary: CRATE/NAME (NAME is `unit` for what lies in a library's own files), the crate's
# folder, the file.
list_tests() {
    python3 -c '
import json, os, sys
for line in sys.stdin:
    it = json.loads(line)
    if it["reason"] == "compiler-artifact" and it["profile"]["test"] and it["executable"]:
        folder = os.path.dirname(it["manifest_path"])
        name = "unit" if it["target"]["kind"] == ["lib"] else it["target"]["name"]
        print(os.path.basename(folder) + "/" + name, folder, it["executable"], sep="\t")
' | sort
}

# More than this many tests of one binary that fail are no matter of chance.
AGAIN_MAX=3

# run_tests [--at-once N] PATTERN... [but PATTERN...]: those whose CRATE/NAME fits, N (1) at a time, each
# whatever becomes of the others. What each says is shown in one piece once it has ended, and lies in a
# file meanwhile. Fails if a test fails twice, or none fits.
run_tests() {
    local at_once=1 wanted=() unwanted=() name folder file ran=0 again=() failed=()
    local -A running=()
    [ "$1" != --at-once ] || { at_once="$2" && shift 2; }
    while [ $# -gt 0 ] && [ "$1" != but ]; do wanted+=("$1") && shift; done
    while [ $# -gt 1 ]; do unwanted+=("$2") && shift; done
    [ -f "$TESTED/tests" ] || die "the tests aren't built" "scripts/test.sh builds them, and runs steps by number"
    mkdir -p "$TESTED/logs"
    while IFS=$'\t' read -r name folder file; do
        fits "$name" "${wanted[@]}" && ! fits "$name" "${unwanted[@]}" || continue
        [ ${#running[@]} -lt "$at_once" ] || await_test
        say "     Running $name: $(log_of "$name")"
        (cd "$folder" && CARGO_MANIFEST_DIR="$folder" exec "$file" </dev/null >"$(log_of "$name")" 2>&1) &
        running[$!]="$name"
        ran=$((ran + 1))
    done <"$TESTED/tests"
    [ "$ran" -gt 0 ] || die "no test fits: ${wanted[*]}"
    while [ ${#running[@]} -gt 0 ]; do await_test; done
    for name in "${again[@]}"; do run_again "$name"; done
    [ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
}

log_of() { echo "$TESTED/logs/${1/\//-}.log"; }

# Of run_tests, whose variables it uses: until one has ended.
await_test() {
    local pid status=0
    wait -n -p pid "${!running[@]}" || status=$?
    say "     Ran ${running[$pid]}"
    cat "$(log_of "${running[$pid]}")"
    [ "$status" = 0 ] || again+=("${running[$pid]}")
    unset "running[$pid]"
}

# Of run_tests: the tests that failed in NAME, once more and by themselves. A host that was busy for a moment
# is told from a defect that way, and who reads the summary is told of both (`unsteady:`, `failed:`).
run_again() {
    local name="$1" folder file log test tests
    IFS=$'\t' read -r _ folder file < <(grep -F "$name"$'\t' "$TESTED/tests")
    log="$(log_of "$name")"
    mapfile -t tests < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
    if [ ${#tests[@]} = 0 ] || [ ${#tests[@]} -gt "$AGAIN_MAX" ]; then
        failed+=("$name")
        say "failed: $name: ${#tests[@]} of its tests; the run ended with: $(tail -n 1 "$log")"
        return
    fi
    for test in "${tests[@]}"; do
        say "     Running $name once more: $test"
        if (cd "$folder" && CARGO_MANIFEST_DIR="$folder" exec "$file" --exact "$test") </dev/null >"$log.again" 2>&1; then
            say "unsteady: $name $test failed, and passed by itself: $(why_of "$log" "$test")"
        else
            cat "$log.again"
            failed+=("$name")
            say "failed: $name $test, twice: $(why_of "$log.again" "$test")"
        fi
    done
}

# What a test died of, from its log, in one line.
why_of() {
    grep -F -A 2 "thread '$2'" "$1" | sed 's/^thread .* panicked at/at/' | head -n 3 | tr -s '\n ' ' ' | cut -c 1-400
}

# fits NAME PATTERN...
fits() {
    local name="$1" pattern
    shift
    for pattern in "$@"; do
        # shellcheck disable=SC2254 # a pattern
        case "$name" in $pattern) return 0 ;; esac
    done
    return 1
}
