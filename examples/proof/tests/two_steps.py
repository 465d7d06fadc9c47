"""Two rollouts of one method through a server of its own, and what must be in the log: two_steps.py PROGRAM BASE LOGS."""

import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import densereward  # noqa: E402
import train  # noqa: E402

program, base, logs = sys.argv[1:]
with densereward.LocalServer("--log-level", "warn", program=program) as server:
    train.main(["--base", base, "--server", server.url, "--method", "local", "--out", logs, "--rollouts", "2", "--prompts", "2",
                "--group", "3", "--train-steps", "2", "--evaluated", "4", "--check-every", "2"])
lines = [json.loads(line) for line in (pathlib.Path(logs) / "local-1.jsonl").read_text().splitlines()]
steps = [line for line in lines if "reward" in line]
assert len(steps) == 2 and lines[-1]["final"], lines
for line in steps:
    assert line["failed"] == 0 and 0 <= line["reward"] <= 1, line
    assert all(math.isfinite(line[k]) for k in ("kl", "grad", "divergence", "rate")) and line["grad"] > 0, line
assert steps[1]["divergence"] > 0
print("two rollouts through the server:", [round(line["reward"], 3) for line in steps])
