"""Two rollouts of one method through a server of its own, and what must be in the log: two_steps.py PROGRAM BASE LOGS."""

import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import densereward  # noqa: E402
import experiment  # noqa: E402
import train  # noqa: E402

program, base, logs = sys.argv[1:]
with densereward.LocalServer(*experiment.evaluators(), "--log-level", "warn", program=program) as server:
    train.main(["--base", base, "--server", server.url, "--method", "local:coarse=8:noise=0.5,scalar", "--second", "second", "--out", logs, "--rollouts", "2", "--prompts", "2",
                "--group", "3", "--train-steps", "2", "--evaluated", "4", "--check-every", "2"])
for name in ("local_coarse=8_noise=0.5", "scalar"):
    lines = [json.loads(line) for line in (pathlib.Path(logs) / f"{name}-1.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "reward" in line]
    assert len(steps) == 2 and lines[-1]["final"], lines
    for line in steps:
        assert line["failed"] == 0 and 0 <= line["reward"] <= 1, line
        assert all(math.isfinite(line[k]) for k in ("kl", "grad", "divergence", "rate")) and line["grad"] > 0, line
    assert steps[1]["divergence"] > 0
    for line in (lines[0], lines[-1]):
        assert 0 <= line["second"] <= 1 and math.isfinite(line["distance"]), line
    print(name, "two rollouts through the server:", [round(line["reward"], 3) for line in steps], [f"{line['unscaled']:.1e} -> {line['divergence']:.1e}" for line in steps])
