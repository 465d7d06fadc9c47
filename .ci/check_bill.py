"""Holds a bill of materials on the standard input to the schema of CycloneDX that it
names. Needs cyclonedx-python-lib[json-validation]."""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = sys.stdin.read()
bill = json.loads(text)
errors = JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str(text)
if errors:
    sys.exit(f"the bill of materials does not fit CycloneDX {bill['specVersion']}: {str(errors).splitlines()[0]}")
print(f"a bill of {len(bill['components'])} components, as CycloneDX {bill['specVersion']} wants it")
