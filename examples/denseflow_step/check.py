"""Holds denseflow.py to the numbers of the public DenseFlow-GRPO code:

    python3 examples/denseflow_step/check.py

They are the cases of flowgrpo/testdata: losses, ratios and gradients with respect
to the model output, in float64, for the form published as code and the paper's.
"""

import gzip
import json
import pathlib
import sys

import numpy as np

import denseflow

CASES = pathlib.Path(__file__).resolve().parents[2] / "flowgrpo/testdata/cases.json.gz"

# float64 results that differ by the order of operations alone.
RELATIVE, ABSOLUTE = 1e-9, 1e-12

# What each variant of the cases takes: advantages, weight, KL, and the bound of
# advantages. The code behind map_detached clips none and has no KL term.
VARIANTS = {
    "denseflow_code": lambda c: (c["advantages"], 1 - np.array(c["heatmap"]), c["kl_beta"], c["adv_clip_max"]),
    "map_detached": lambda c: (c["advantage_map"], 1.0, None, np.inf),
}


def check(name, got, want):
    got, want = np.asarray(got), np.asarray(want)
    off = np.abs(got - want) - (ABSOLUTE + RELATIVE * np.abs(want))
    if got.shape != want.shape or not (off <= 0).all():
        sys.exit(f"{name}: {np.abs(got - want).max()} off the reference")


def main():
    with gzip.open(CASES) as file:
        cases = json.load(file)
    (published,) = [s for s in cases["schedules"] if s["kind"] == "shift" and s["shift"] == 3.0 and s["steps"] == 10]
    sigmas = np.array(published["sigmas"])
    if np.abs(denseflow.schedule(10, 3.0) - sigmas).max() > 1e-6:  # published in float32
        sys.exit("the schedule is off the reference")
    checked = 0
    for i, case in enumerate(cases["losses"]):
        arrays = {k: np.array(case[k]) for k in ("sample", "prev_sample", "model_output", "ref_model_output", "old_log_prob_map")}
        step = denseflow.Step(sigmas, case["step_index"], case["noise_level"])
        for variant, inputs in VARIANTS.items():
            advantages, weight, beta, most = inputs(case)
            want = case["variants"][variant]
            got = denseflow.loss(
                step,
                arrays["sample"],
                arrays["prev_sample"],
                arrays["model_output"],
                arrays["old_log_prob_map"],
                advantages,
                weight,
                reference=None if beta is None else arrays["ref_model_output"],
                clip=case["clip_range"],
                beta=beta or 0.0,
                most=most,
            )
            where = f"case {i}, {variant}"
            check(f"{where}: loss", got.loss, want["loss"])
            check(f"{where}: ratio", got.ratio, want["ratio_map"])
            check(f"{where}: gradient", got.gradient, want["grad_model_output"])
            checked += 1
    print(f"{checked} losses, ratio maps and gradients equal the reference's")


if __name__ == "__main__":
    main()
