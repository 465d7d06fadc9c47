"""One DenseFlow-GRPO step with numpy alone, from a rollout to a gradient:

    PYTHONPATH=client/python/src python3 examples/denseflow_step/step.py

A toy policy (a velocity of one learned latent a prompt) draws latents with the SDE
sampler of Flow-GRPO; a server scores the images; its dense rewards R(1-H) become
advantages for each latent pixel, and the clipped loss its gradient with respect to
the model output, which goes into the policy. Without --server a server with the
demonstration checkpoint is started for the occasion.
"""

import argparse
import contextlib
import pathlib
import sys

import denseflow
import numpy as np

import densereward

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPTS = ["a green circle on a plain background", "a purple square on a plain background"]
IMAGES = 4  # for each prompt
CHANNELS, SIDE = 3, 24  # of the latents; an image is 8 times as large
STEPS, TRAINED = 10, 6  # of the sampler; the one that is trained here
NOISE, RATE = 0.7, 50.0


class Policy:
    """Velocities that pull towards one learned latent for each prompt."""

    def __init__(self, rng):
        self.target = rng.standard_normal((len(PROMPTS), CHANNELS, SIDE, SIDE)) * 0.3

    def velocity(self, latents, which, sigma):
        return (latents - self.target[which]) / max(sigma, 0.05)

    def learn(self, gradient, which, sigma):
        """A step down the gradient of the loss by the velocities."""
        for prompt in range(len(PROMPTS)):
            by_target = -gradient[which == prompt].sum(axis=0) / max(sigma, 0.05)
            self.target[prompt] -= RATE * by_target


def rollout(policy, which, rng):
    """Latents at sigma 0, and the transition that will be trained."""
    sigmas = denseflow.schedule(STEPS)
    latents = rng.standard_normal((len(which), CHANNELS, SIDE, SIDE))
    for index in range(STEPS - 1):
        step = denseflow.Step(sigmas, [index] * len(which), NOISE)
        output = policy.velocity(latents, which, sigmas[index])
        following = step.draw(latents, output, rng)
        if index == TRAINED:
            trained = step, latents, following, output, sigmas[index]
        latents = following
    last = policy.velocity(latents, which, sigmas[STEPS - 1])
    return latents - sigmas[STEPS - 1] * last, trained


def decode(latents):
    """Images (N,3,8h,8w) of floats in [0,1]: each latent pixel a square."""
    return np.clip(latents * 0.5 + 0.5, 0, 1).repeat(8, axis=2).repeat(8, axis=3).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", help="address of a server")
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    policy = Policy(rng)
    which = np.repeat(np.arange(len(PROMPTS)), IMAGES)
    prompts = [PROMPTS[i] for i in which]

    latents, (step, sample, previous, output, sigma) = rollout(policy, which, rng)
    with contextlib.ExitStack() as stack:
        if not args.server:
            program = ["go", "run", "./cmd/densereward"]
            args.server = stack.enter_context(densereward.LocalServer(program=program, cwd=str(ROOT))).url
        client = stack.enter_context(densereward.Client(args.server))
        result = client.score(decode(latents), prompts, grid="sd3", advantage="denseflow_paper").raise_for_errors()

    advantages = denseflow.map_advantages(result.dense.reward, prompts)
    np.testing.assert_allclose(advantages, result.advantages, atol=1e-3)  # the server's own, in float32
    old = step.log_prob(sample, output, previous)
    before = denseflow.loss(step, sample, previous, output, old, advantages)
    policy.learn(before.gradient, which, sigma)
    moved = policy.velocity(sample, which, sigma)
    after = denseflow.loss(step, sample, previous, moved, old, advantages)

    print("rewards    ", *(f"{r:.3f}" for r in result.rewards))
    print("advantages ", *(f"{a:+.3f}" for a in advantages.mean(axis=(1, 2))), "(mean of the map)")
    print(f"loss        {before.loss:+.6f}, after the step {after.loss:+.6f}")
    change = step.log_prob(sample, moved, previous) - old
    gain = float((advantages * change).mean())
    print(f"log p       {change[advantages > 0].mean():+.2e} where the advantage is positive, {change[advantages < 0].mean():+.2e} elsewhere")
    if not gain > 0:
        sys.exit("the step did not make good places likelier")


if __name__ == "__main__":
    main()
