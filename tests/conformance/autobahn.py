"""Runs Autobahn's cases against an echo server and says whether exactly what should pass does.

    autobahn.py ECHO_BINARY

Two runs on io_uring (where the host allows it) and two on epoll. With messages of up to 16 MiB all cases but the compression ones pass; those find their offer declined. With
64 KiB, Touchline's own limit, the cases with larger messages are answered by close 1009, and nothing else changes.
"""

import asyncio
import os
import subprocess
import sys

from kosoku import FailureError, run_fuzzingclient

COMPRESSION = ["12.*", "13.*"]
BACKENDS = ["auto", "epoll"]
PASSED_COUNT = 301
DECLINED_COUNT = 216
# Groups 9.1 to 9.6 from the first case whose message is larger than 64 KiB.
TOO_BIG = {
    f"9.{group}.{case}"
    for group, first, last in [(1, 2, 6), (2, 2, 6), (3, 1, 9), (4, 1, 9), (5, 1, 6), (6, 1, 6)]
    for case in range(first, last + 1)
}
assert len(TOO_BIG) == 40


class Echo:
    """The server under test, on a port of its own."""

    def __init__(self, binary, backend, message_bytes_max):
        arguments = [binary, "127.0.0.1:0", str(message_bytes_max), backend]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        line = self.process.stdout.readline()
        prefix = "listening on "
        if not line.startswith(prefix):
            raise SystemExit(f"the echo server said {line!r} instead of its address")
        return f"ws://{line[len(prefix):].strip()}/v1/stream"

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def run(binary, backend, message_bytes_max, exclude=None):
    with Echo(binary, backend, message_bytes_max) as url:
        try:
            return asyncio.run(run_fuzzingclient(url, exclude_cases=exclude, concurrency=2))
        except FailureError as failure:
            return failure.results


def has_passed(case):
    """A case that is informational asks how we behave, and accepts any answer."""
    verdicts = {case.behavior.value, case.behavior_close.value}
    return verdicts <= {"OK", "INFORMATIONAL"}


def is_declined(case):
    return case.behavior.value == "UNIMPLEMENTED" and case.case_id.split(".")[0] in ("12", "13")


def complain(case, wanted):
    verdict = f"{case.behavior.value}/{case.behavior_close.value}, close {case.remote_close_code}"
    print(f"case {case.case_id}: {verdict}; wanted {wanted}\n    {case.description}\n    {case.result}")


def with_large_messages(binary, backend):
    cases = run(binary, backend, 16 << 20)
    passed = [case for case in cases if has_passed(case)]
    declined = [case for case in cases if is_declined(case)]
    for case in cases:
        if not (has_passed(case) or is_declined(case)):
            complain(case, "a pass, or compression declined")
    print(f"16 MiB: {len(passed)} passed, {len(declined)} compression offers declined, of {len(cases)}")
    return (len(passed), len(declined), len(cases)) == (
        PASSED_COUNT,
        DECLINED_COUNT,
        PASSED_COUNT + DECLINED_COUNT,
    )


def with_our_limit(binary, backend):
    cases = run(binary, backend, 64 << 10, COMPRESSION)
    too_big, wrong = set(), 0
    for case in cases:
        if case.case_id in TOO_BIG and case.remote_close_code == 1009:
            too_big.add(case.case_id)
        elif case.case_id in TOO_BIG or not has_passed(case):
            complain(case, "close 1009" if case.case_id in TOO_BIG else "a pass")
            wrong += 1
    print(f"64 KiB: {len(too_big)} closed with 1009, {len(cases) - len(too_big) - wrong} passed")
    return too_big == TOO_BIG and wrong == 0 and len(cases) == PASSED_COUNT


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    binary = sys.argv[1]
    is_fine = True
    for backend in BACKENDS:
        print(f"on {backend}:")
        is_fine = with_large_messages(binary, backend) and is_fine
        is_fine = with_our_limit(binary, backend) and is_fine
    print("conformance: as it should be" if is_fine else "conformance: NOT as it should be")
    sys.stdout.flush()
    # The runner's own threads abort an ordinary exit now and then.
    os._exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
