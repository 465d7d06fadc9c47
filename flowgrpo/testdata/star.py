"""Makes star.json.gz: STAR (arXiv 2606.17979) written down a second time, in loops over single numbers.

    python3 flowgrpo/testdata/star.py

No code of STAR is public, and of the paper only the abstract was at hand. It says: one
group-relative advantage a rollout; maps that vary across denoising steps and rollouts
allocate it to latent regions; a policy objective that is resolved in space updates those
regions more strongly. That is written here from those words and Flow-GRPO's equations
(2505.05470), by another hand than package flowgrpo and sharing none of its code:

    A_i      = (R_i - mean) / (std + 1e-4), of the group
    A_it(l)  = A_i M_it(l), and with each map over its mean
    r_it(l)  = p(x_{t-1}(l)) / p_old(x_{t-1}(l)), p the geometric mean over channels
    L_t      = mean over rollouts and locations of max(-A r, -A clamp(r, 1-c, 1+c))

How STAR scales its maps and which ratio it takes are choices made here. Gradients are
complex steps of each number of the velocity, exact to rounding. Needs numpy alone.
"""

import gzip
import json
import math
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
N, CHANNELS, HEIGHT, WIDTH = 6, 2, 3, 4
LOCATIONS = HEIGHT * WIDTH
GROUPS = [0, 1, 0, 1, 1, 0]
STEPS = [2, 7]  # of ten
NOISE, CLIP = 0.7, 0.01
EPSILON = 1e-4
LOG_SQRT_2PI = 0.9189385175704956  # float32's, as in the public code of Flow-GRPO


def sigmas():
    """The schedule of ten steps with shift 3, as diffusers gives it."""
    cases = json.load(gzip.open(HERE / "cases.json.gz"))["schedules"]
    return next(c["sigmas"] for c in cases if c["kind"] == "shift" and c["steps"] == 10 and c["shift"] == 3.0)


def advantages(rewards):
    out = []
    for i in range(N):
        group = [rewards[j] for j in range(N) if GROUPS[j] == GROUPS[i]]
        mean = sum(group) / len(group)
        std = math.sqrt(sum((r - mean) ** 2 for r in group) / len(group))
        out.append((rewards[i] - mean) / (std + EPSILON))
    return out


def log_prob(sigma, following, x, velocity, drawn, location):
    """Of one rollout's x_{t-1} at a location, the mean over channels; the velocity may be complex."""
    std_dev = NOISE * math.sqrt(sigma / (1 - sigma))
    dt = following - sigma
    deviation = std_dev * math.sqrt(-dt)
    total = 0
    for c in range(CHANNELS):
        k = c * LOCATIONS + location
        mean = x[k] * (1 + std_dev**2 / (2 * sigma) * dt) + velocity[k] * (1 + std_dev**2 * (1 - sigma) / (2 * sigma)) * dt
        total = total - (drawn[k] - mean) ** 2 / (2 * deviation**2) - math.log(deviation) - LOG_SQRT_2PI
    return total / CHANNELS


def term(advantage, change):
    """max of the two arms, which a complex ratio is compared in by its real part."""
    ratio = np.exp(change)
    free = -advantage * ratio
    bounded = -advantage * (ratio if 1 - CLIP <= ratio.real <= 1 + CLIP else min(max(ratio.real, 1 - CLIP), 1 + CLIP))
    return free if free.real >= np.real(bounded) else bounded


def objective(sigma, following, batch, credit):
    """The loss, and its gradient by every number of the velocity."""
    value, gradient, step = 0.0, [], 1e-30
    for i in range(N):
        x, v, old, drawn = (batch[name][i] for name in ("sample", "model_output", "old_model_output", "prev_sample"))
        for l in range(LOCATIONS):
            before = log_prob(sigma, following, x, old, drawn, l)
            value += float(np.real(term(credit[i][l], np.complex128(log_prob(sigma, following, x, v, drawn, l) - before))))
        for k in range(CHANNELS * LOCATIONS):
            l = k % LOCATIONS
            moved = [np.complex128(a) for a in v]
            moved[k] += 1j * step
            before = log_prob(sigma, following, x, old, drawn, l)
            gradient.append(float(np.imag(term(credit[i][l], log_prob(sigma, following, x, moved, drawn, l) - before))) / step / (N * LOCATIONS))
    return {"loss": value / (N * LOCATIONS), "grad": gradient}


def main():
    rng = np.random.default_rng(17979)
    schedule = sigmas()
    rewards = rng.normal(size=N).tolist()
    out = {"shape": [N, CHANNELS, HEIGHT, WIDTH], "groups": GROUPS, "rewards": rewards, "noise_level": NOISE, "clip_range": CLIP, "steps": []}
    out["advantages"] = advantages(rewards)
    for index in STEPS:
        sigma, following = schedule[index], schedule[index + 1]
        case = {"index": index}
        mask = rng.gamma(0.7, size=(N, LOCATIONS))  # attention: few high places
        mask[2, :5] = 0
        batch = {name: rng.normal(size=(N, CHANNELS * LOCATIONS)) for name in ("sample", "old_model_output")}
        batch["model_output"] = batch["old_model_output"] + 0.003 * rng.normal(size=(N, CHANNELS * LOCATIONS))
        std_dev = NOISE * math.sqrt(sigma / (1 - sigma))
        dt = following - sigma
        batch["prev_sample"] = (
            batch["sample"] * (1 + std_dev**2 / (2 * sigma) * dt)
            + batch["old_model_output"] * (1 + std_dev**2 * (1 - sigma) / (2 * sigma)) * dt
            + std_dev * math.sqrt(-dt) * rng.normal(size=(N, CHANNELS * LOCATIONS))
        )
        case.update({name: values.flatten().tolist() for name, values in batch.items()}, mask=mask.flatten().tolist())
        for name, scale in (("plain", lambda m: 1.0), ("normalized", lambda m: sum(m) / LOCATIONS)):
            credit = [[out["advantages"][i] * mask[i][l] / scale(mask[i]) for l in range(LOCATIONS)] for i in range(N)]
            case[name] = {"credit": sum(credit, []), **objective(sigma, following, batch, credit)}
        out["steps"].append(case)
    with open(HERE / "star.json.gz", "wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as zipped:
        zipped.write(json.dumps(out).encode())


if __name__ == "__main__":
    main()
