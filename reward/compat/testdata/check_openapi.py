"""Sends a server what schemathesis makes of its description, and holds the answers to
it: nothing is a fault of the server, and each answer is of a documented status,
type and schema.

    python check_openapi.py SERVER

Jobs are left out: what is wrong with one is told when its answer is fetched. SERVER is
the address of client/python/tests/testdata/fakeserver. Needs schemathesis.
"""

import subprocess
import sys
from pathlib import Path

checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection"
command = [
    Path(sys.executable).with_name("schemathesis"), "run", sys.argv[1] + "/openapi.json", "--exclude-path", "/v1/jobs",
    "--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", "60", "--seed", "1", "--no-color",
]  # fmt: skip
sys.exit(subprocess.run(command, check=False).returncode)
