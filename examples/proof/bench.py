"""How fast the server scores images of this world, and how well its scores and maps agree with what is true of drawn scenes.

    python bench.py --program densereward --device cuda
"""

import argparse
import json
import time

import numpy as np
import torch

import densereward
import world
from reward import Reward


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="densereward")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", default="32,96", help="values of serve's --batch to try")
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--think", action="store_true", help="time mode think as well")
    args = parser.parse_args()
    scenes = world.draw_many((99, args.images, 0.3, 0.5))
    images, heat = world.draw_pixels(world.make_renderer("cpu"), scenes, np.arange(args.images))
    captions = torch.from_numpy(scenes["captions"])
    truth = scenes["alignment"] * scenes["plausibility"]
    for batch in args.batches.split(","):
        start = time.time()
        with densereward.LocalServer("--device", args.device, "--batch", batch, "--cache", "0", "--log-level", "warn", program=args.program) as server:
            line = {"phase": "bench", "device": args.device, "batch": int(batch), "start_s": round(time.time() - start, 1)}
            for name, think in (("answer", False), ("think", True)):
                if think and not args.think:
                    continue
                reward = Reward(server.url, "cpu", think=think)
                reward.submit(images[:32], captions[:32]).result()
                times = []
                for k in range(2 if not think else 1):
                    scored = reward.submit((images + k / 255).clamp(0, 1), captions).result()
                    times.append(scored.seconds)
                line[name + "_s"] = [round(t, 3) for t in times]
                line[name + "_failed"] = int((~scored.ok).sum())
                ok = scored.ok.numpy()
                line[name + "_plcc"] = {
                    "reward": round(float(np.corrcoef(scored.rewards[ok], truth[ok])[0, 1]), 3),
                    "alignment": round(float(np.corrcoef(scored.alignment[ok], scenes["alignment"][ok])[0, 1]), 3),
                    "plausibility": round(float(np.corrcoef(scored.plausibility[ok], scenes["plausibility"][ok])[0, 1]), 3),
                }
                small = torch.nn.functional.adaptive_avg_pool2d(heat, world.SIDE).mean(1)
                line[name + "_heat_cc"] = round(float(np.corrcoef(scored.heat[ok].flatten(), small[ok].flatten())[0, 1]), 3)
                reward.close()
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
