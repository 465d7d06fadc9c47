"""Reads what "go test -json" prints and says what a person wants to know: the
closing line of each package, all that failed tests printed, and why tests were
skipped. Fails if a test failed, or was skipped for another reason than the lack
of a GPU or of AVX2, which lies with the machine."""

import collections
import json
import re
import sys

MACHINE = re.compile(r"GPU|CUDA|AVX2", re.IGNORECASE)
FILE = re.compile(r"^\S+\.go:\d+: ")
CLOSING = re.compile(r"(ok|FAIL|\?) ")


def given(lines):
    """The reason that a test gives in what it printed: without the names of tests
    and files, which may say CUDA as well."""
    stripped = (line.strip() for line in lines)
    return "\n".join(FILE.sub("", line) for line in stripped if not line.startswith(("===", "---")))


printed = collections.defaultdict(list)  # by package and test
bad = False
for line in sys.stdin:
    try:
        event = json.loads(line)
    except ValueError:  # what go itself says, such as errors of the compiler
        print(line, end="")
        continue
    key = event.get("Package", event.get("ImportPath")), event.get("Test")
    text = event.get("Output", "")
    if key[1] is None and (CLOSING.match(text.expandtabs()) or event["Action"] == "build-output"):
        print(text, end="", flush=True)
    elif text:
        printed[key].append(text)
    if event["Action"] == "fail":
        bad = True
        print(*printed[key], sep="", end="", flush=True)
    elif event["Action"] == "skip" and key[1]:
        reason = "".join(printed[key])
        print(reason, end="")
        if not MACHINE.search(given(reason.splitlines())):
            bad = True
            print(f"{key[1]} should not be skipped here")
sys.exit(bad)
