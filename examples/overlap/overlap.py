"""What a step costs when rewards wait for the rollout, and when they overlap it:

    PYTHONPATH=client/python/src python3 examples/overlap/overlap.py

A step of an online trainer draws several batches and then updates the policy, for
which it needs the rewards of all of them. The trainer here is simulated: it sleeps
while its device would draw and update. The rewards are real ones of a server.
`client.score` after each batch leaves the trainer's device idle while the server
works, and the server idle while it draws; `client.submit` leaves neither. The policy
learns from the same samples either way. Without --server a server with the
demonstration checkpoint is started for the occasion.
"""

import argparse
import contextlib
import pathlib
import time

import numpy as np

import densereward

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIDE = 256


def draw(args, rng):
    """A batch of images (N,h,w,3) and their prompts, after the time that sampling takes."""
    time.sleep(args.rollout)
    return rng.integers(0, 255, (args.images, SIDE, SIDE, 3), np.uint8), ["a red circle"] * args.images


def waiting(client, args, rng):
    """The rewards of a step whose batches are scored one after the other."""
    return [client.score(*draw(args, rng), advantage="flowgrpo") for _ in range(args.batches)]


def overlapping(client, args, rng):
    """The same while the next batch is drawn."""
    jobs = [client.submit(*draw(args, rng), advantage="flowgrpo") for _ in range(args.batches)]
    return [job.result() for job in jobs]


def seconds(step, client, args, rng):
    """The mean time of a step."""
    began = time.perf_counter()
    for _ in range(args.steps):
        results = step(client, args, rng)
        assert sum(result.ok.sum() for result in results) == args.batches * args.images
        time.sleep(args.update)
    return (time.perf_counter() - began) / args.steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", help="address of a server, or several with commas between")
    parser.add_argument("--batches", type=int, default=4, help="batches of a step")
    parser.add_argument("--images", type=int, default=1, help="images of a batch")
    parser.add_argument("--rollout", type=float, default=1.0, help="seconds in which a batch is drawn")
    parser.add_argument("--update", type=float, default=1.0, help="seconds of an update")
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed")
    args = parser.parse_args()
    rng = np.random.default_rng()  # other images in each run, for the server remembers results
    with contextlib.ExitStack() as stack:
        if not args.server:
            program = ["go", "run", "./cmd/densereward"]
            args.server = stack.enter_context(densereward.LocalServer(program=program, cwd=str(ROOT))).url
        client = stack.enter_context(densereward.Client(args.server))
        client.score(*draw(args, rng))  # the first request opens connections
        apart = seconds(waiting, client, args, rng)
        together = seconds(overlapping, client, args, rng)
    device = args.batches * args.rollout + args.update
    print("                        s a step   device busy")
    print(f"score after each batch  {apart:8.2f}   {device / apart:11.0%}")
    print(f"submit                  {together:8.2f}   {device / together:11.0%}")


if __name__ == "__main__":
    main()
