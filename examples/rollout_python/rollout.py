"""A rollout that is scored while the next one is drawn, as a trainer would do it:

    PYTHONPATH=client/python/src python3 examples/rollout_python/rollout.py

Each batch holds several images of each prompt. It is submitted as soon as it is
drawn, and its rewards are waited for once all batches are. The server answers with
scores, rewards, dense rewards on the latent grid and advantages within each
prompt's group. Without --server a server with the demonstration checkpoint is
started for the occasion.
"""

import argparse
import contextlib
import pathlib

import numpy as np

import densereward

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPTS = ["a red circle on a plain background", "a red square on a plain background"]
BATCHES, IMAGES, SIDE = 2, 3, 256


def draw(prompts, rng):
    """What a diffusion pipeline would give: images (N,3,h,w), floats in [0,1]. A
    shape somewhere near the middle, and now and then a patch of noise."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    background = np.array([0.26, 0.27, 0.38])[:, None, None] - 0.13 * (y + 0.5)
    images = np.empty((len(prompts), 3, SIDE, SIDE), np.float32)
    for image, prompt in zip(images, prompts):
        left, up = rng.uniform(-0.15, 0.15, 2)
        far = np.hypot(x - left, y - up) if "circle" in prompt else np.maximum(abs(x - left), abs(y - up))
        image[:] = np.where(far < 0.23, np.array([0.84, 0.19, 0.19])[:, None, None], background)
        if rng.random() < 0.5:
            row, column = rng.integers(0, SIDE - 48, 2)
            image[:, row : row + 48, column : column + 48] = rng.random((3, 48, 48))
    return images


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", help="address of a server, or several with commas between")
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    with contextlib.ExitStack() as stack:
        if not args.server:
            program = ["go", "run", "./cmd/densereward"]
            args.server = stack.enter_context(densereward.LocalServer(program=program, cwd=str(ROOT))).url
        client = stack.enter_context(densereward.Client(args.server))
        asked = []
        for _ in range(BATCHES):
            prompts = [p for p in PROMPTS for _ in range(IMAGES)]
            images = densereward.to_uint8(draw(prompts, rng))  # a quarter of the bytes, the same rewards
            asked.append((prompts, client.submit(images, prompts, grid="sd3", advantage="flowgrpo")))
        for number, (prompts, job) in enumerate(asked):
            show(number, prompts, job.result())


def show(number, prompts, result):
    height, width = result.dense.grid
    print(f"batch {number}: {result.evaluator}, dense rewards on {height}x{width}")
    print("  alignment aesthetics plausibility overall   reward  dense min  advantage")
    for i, prompt in enumerate(prompts):
        if result.errors[i] is not None:
            print(f"  {result.errors[i]}")
            continue
        scores = "  ".join(f"{values[i]:9.2f}" for values in result.scores.values())
        print(f"{scores}  {result.rewards[i]:7.3f}  {result.dense.reward[i].min():9.3f}  {result.advantages[i]:+9.3f}  {prompt}")


if __name__ == "__main__":
    main()
