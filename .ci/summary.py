"""Reads what "go test -json" prints and says what a person wants to know: the
closing line of each package, all that failed tests printed, and why tests were
skipped. Fails if a test failed or was skipped for another reason than the lack
of a GPU."""

import collections
import json
import re
import sys

NO_GPU = re.compile(r"GPU|CUDA", re.IGNORECASE)
CLOSING = re.compile(r"(ok|FAIL|\?) ")

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
        if not NO_GPU.search(reason):
            bad = True
            print(f"{key[1]} should not be skipped here")
sys.exit(bad)
