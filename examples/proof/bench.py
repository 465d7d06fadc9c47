"""How fast the server scores images of this world, and how well its scores and maps agree with what is true of drawn scenes.

    python bench.py --program densereward --device cuda
"""

import argparse
import json
import time

import numpy as np
import torch

import densereward
import experiment
import world
from reward import Reward


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="densereward")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", default="96x1,96x2", help="images of a batch, x, sessions: ways to run the server")
    parser.add_argument("--images", type=int, default=192, help="of a request")
    parser.add_argument("--concurrent", type=int, default=4, help="requests at a time")
    parser.add_argument("--think", action="store_true", help="time mode think as well")
    args = parser.parse_args()
    scenes = world.draw_many((99, args.images, 0.3, 0.5))
    images, heat = world.draw_pixels(world.make_renderer("cpu"), scenes, np.arange(args.images))
    captions = torch.from_numpy(scenes["captions"])
    truth = scenes["alignment"] * scenes["plausibility"]
    for shape in args.shapes.split(","):
        batch, sessions = shape.split("x")
        start = time.time()
        device = ",".join([args.device] * int(sessions))
        with densereward.LocalServer("--device", device, "--batch", batch, *experiment.SERVER, "--log-level", "warn", "--no-access-log", program=args.program) as server:
            line = {"phase": "bench", "device": args.device, "batch": int(batch), "sessions": int(sessions), "start_s": round(time.time() - start, 1)}
            for name, think in (("answer", False), ("think", True)):
                if not think or args.think:
                    line.update(measure(server, name, think, images, captions, scenes, truth, heat, args))
            print(json.dumps(line), flush=True)


def measure(server, name, think, images, captions, scenes, truth, heat, args):
    """One request after the other, then so many side by side, and what the scores are worth."""
    reward = Reward(server.url, "cpu", think=think, threads=args.concurrent)
    score = lambda k: reward.submit((images + k / 255).clamp(0, 1), captions)
    for _ in range(2):
        score(0).result()
    alone = [score(k).result() for k in range(1 if think else 3)]
    scored, ok = alone[0], alone[0].ok.numpy()
    begun = time.time()
    for future in [score(k % 9) for k in range(args.concurrent * (1 if think else 3))]:
        future.result()
    side_by_side = args.concurrent * (1 if think else 3) * len(images) / (time.time() - begun)
    reward.close()
    plcc = lambda a, b: round(float(np.corrcoef(a, b)[0, 1]), 3)
    small = torch.nn.functional.adaptive_avg_pool2d(heat, world.SIDE).mean(1)
    return {
        name + "_s": [round(s.seconds, 3) for s in alone], name + "_images_per_s": round(side_by_side), name + "_failed": int((~scored.ok).sum()),
        name + "_plcc": {
            "reward": plcc(scored.rewards[ok], truth[ok]), "alignment": plcc(scored.alignment[ok], scenes["alignment"][ok]),
            "plausibility": plcc(scored.plausibility[ok], scenes["plausibility"][ok]),
        },
        name + "_heat_cc": plcc(scored.heat[ok].flatten(), small[ok].flatten()),
    }


if __name__ == "__main__":
    main()
