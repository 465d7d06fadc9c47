"""Turns what ``go version -m PROGRAM`` says into a bill of materials: CycloneDX 1.5 as JSON,
with the time of SOURCE_DATE_EPOCH. The modules are those that are in the program.

    go version -m densereward | python bill.py VERSION
"""

import datetime
import json
import os
import sys


def component(path, version, checksum=""):
    """A module; its checksum is go.sum's."""
    entry = {"type": "library", "name": path, "version": version, "purl": f"pkg:golang/{path}@{version}", "bom-ref": f"pkg:golang/{path}@{version}"}
    if checksum.startswith("h1:"):
        entry["properties"] = [{"name": "go:sum", "value": checksum}]  # of go.sum: a hash of the files' hashes, not of one file
    return entry


def main():
    version = sys.argv[1]
    first, *rest = sys.stdin.read().splitlines()
    modules = []
    for line in rest:
        fields = line.split("\t")[1:]
        if fields[0] == "dep":
            modules.append(component(*fields[1:4]))
    modules.append(component("std", first.rsplit(" ", 1)[1].removeprefix("go")))
    when = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "application", "name": "densereward", "version": version, "licenses": [{"license": {"id": "Apache-2.0"}}]},
        },
        "components": sorted(modules, key=lambda module: module["bom-ref"]),
    }
    json.dump(bill, sys.stdout, indent=1, sort_keys=True)
    print()


main()
