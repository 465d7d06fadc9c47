"""The whole experiment on one or two GPUs, in one go: base model, the server's speed, probes, pilots, and all methods' seeds side by side.

    python experiment.py --out RUN --gpus 0,1 --program densereward --seconds 520

Every card has a server of its own, which the runs of that card share. Pilots choose the
divergence of an update on captions that the report does not use, by the judge and never
by the reward, one value for all methods.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import densereward

HERE = pathlib.Path(__file__).resolve().parent
POCKET = HERE.parents[1] / "engine/imagedoctor/pocket"
SECOND = HERE.parent / "training/checkpoints/seed1"
METHODS = ("scalar", "denseflow", "denseflow_paper", "local", "shuffled")
ABLATIONS = ("local:weight=0.5", "local:weight=2", "local:noise=1", "local:coarse=8", "local:coarse=64")
TARGETS = (1e-5, 1e-4, 1e-3)
# Shares of the time: the base model, the pilots (the probes run beside them); the runs get the rest but for the end.
BASE, PILOT, END = 0.38, 0.13, 0.05


class Budget:
    def __init__(self, seconds):
        self.seconds, self.start = seconds, time.time()

    def spent(self):
        return time.time() - self.start

    def left(self):
        return self.seconds - self.spent()


def say(**line):
    print(json.dumps(line), flush=True)


def start(card, script, *flags, log):
    """A script of this folder on a card."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": card, "OMP_NUM_THREADS": "2"}
    with open(log, "w") as out:
        return subprocess.Popen([sys.executable, str(HERE / script), *map(str, flags)], env=env, stdout=out, stderr=subprocess.STDOUT)


def wait(processes, seconds):
    """Waits for all; those that take longer are ended. Gives how many failed."""
    until = time.time() + seconds
    failed = 0
    for p in processes:
        try:
            failed += p.wait(max(1, until - time.time())) != 0
        except subprocess.TimeoutExpired:
            p.kill()
            failed += 1
    return failed


def serve(card, args):
    reward = ("--evaluator", f"reward=imagedoctor:{POCKET}", "--evaluator", f"second=imagedoctor:{SECOND}")  # the first is the default
    flags = (*reward, "--batch", args.batch, "--log-level", "warn", "--no-access-log")
    env = {"CUDA_VISIBLE_DEVICES": card}
    try:
        return densereward.LocalServer("--device", args.device, *flags, program=args.program, env=env, timeout=90)
    except densereward.ConnectionFailedError as e:
        say(phase="serve", card=card, error=str(e), then="cpu")
        return densereward.LocalServer("--device", "cpu", *flags, program=args.program, timeout=90)


def training(args, method, seed, server, out, **more):
    flags = ["--base", args.base, "--server", server, "--method", method, "--seed", seed, "--out", out]
    flags += ["--prompts", args.prompts, "--group", args.group]
    flags += ["--second", "second"]
    for name, value in more.items():
        flags += ["--" + name.replace("_", "-"), value]
    return flags


def lines(folder):
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            yield path.stem, json.loads(line)


def pilots(args, cards, servers, seconds):
    """The target that the judge likes best, and how many rollouts a second each run makes beside as many others as there will be."""
    jobs, k = [], 0
    for target in TARGETS:
        for method in ("scalar", "local"):
            for seed in (101, 102):
                out = args.out / "pilots" / f"{target:g}"
                out.mkdir(parents=True, exist_ok=True)
                card = k % len(cards)
                k += 1
                flags = training(args, method, seed, servers[card], out, target=target, warm=4, seconds=seconds, rollouts=1000, evaluate="choose", check_every=1000)
                jobs.append(start(cards[card], "train.py", *flags, log=out / f"{method}-{seed}.txt"))
    failed = wait(jobs, seconds + 25)
    best, pace = None, None
    for target in TARGETS:
        found = [line for _, line in lines(args.out / "pilots" / f"{target:g}")]
        final = [x for x in found if x.get("final")]
        if not final:
            continue
        right = sum(x["judge_right"] for x in final) / len(final)
        slowest = min(x["rollout"] / seconds for x in final)
        before = [x["judge_right"] for x in found if x.get("rollout") == 0 and not x.get("final")]
        say(phase="pilot", target=target, right=round(right, 4), before=round(sum(before) / len(before), 4), rollouts=[x["rollout"] for x in final], failed=failed)
        if best is None or right > best[0]:
            best = right, target
        pace = slowest if pace is None else min(pace, slowest)
    return (best[1], pace) if best else (TARGETS[0], None)


def runs(args, cards, servers, target, rollouts, seconds):
    out = args.out / "logs"
    out.mkdir(parents=True, exist_ok=True)
    jobs, k = [], 0
    for seed in range(1, args.seeds + 1):
        for method in args.methods.split(","):
            card = k % len(cards)
            k += 1
            flags = training(args, method, seed, servers[card], out, target=target, seconds=seconds, rollouts=rollouts, evaluate="report")
            jobs.append(start(cards[card], "train.py", *flags, log=out / f"{method}-{seed}.txt"))
    say(phase="runs", runs=len(jobs), target=target, rollouts=rollouts, seconds=round(seconds))
    say(phase="runs", failed=wait(jobs, seconds + 30))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--gpus", default="0")
    parser.add_argument("--program", default="densereward")
    parser.add_argument("--device", default="cuda", help="of the server")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=520)
    parser.add_argument("--base", help="a base model instead of training one")
    parser.add_argument("--target", type=float, help="divergence of an update, instead of pilots")
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas between; ablations: " + ",".join(ABLATIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--group", type=int, default=16)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    budget, cards = Budget(args.seconds), args.gpus.split(",")
    base = None
    if not args.base:
        args.base = str(args.out / "base.pt")
        seconds = BASE * args.seconds - 25  # drawing scenes and the judge take the rest
        base = start(cards[0], "pretrain.py", "--out", args.out, "--seconds", seconds, log=args.out / "pretrain.txt")
    if len(cards) > 1:
        bench = start(cards[1], "bench.py", "--program", args.program, "--device", args.device, "--batches", f"{args.batch},32", "--think", log=args.out / "bench.txt")
        wait([bench], BASE * args.seconds - 20)
        say(phase="bench", log=(args.out / "bench.txt").read_text()[-1500:])
    started = [serve(card, args) for card in cards]
    servers = [s.url for s in started]
    try:
        if base:
            say(phase="base", failed=wait([base], BASE * args.seconds + 60), log=(args.out / "pretrain.txt").read_text()[-1400:], t=round(budget.spent()))
        probe = start(cards[0], "probe.py", "--base", args.base, "--server", servers[0], "--out", args.out / "probe.json", *["--think"] * (len(cards) > 1), log=args.out / "probe.txt")
        target, pace = (args.target, None) if args.target else pilots(args, cards, servers, PILOT * args.seconds - 25)
        say(phase="chosen", target=target, rollouts_per_s=pace, t=round(budget.spent()))
        seconds = budget.left() - END * args.seconds - 15
        rollouts = max(2, int(0.8 * pace * seconds)) if pace else 1000  # all are compared at the last rollout that every run reached
        runs(args, cards, servers, target, rollouts, seconds)
        say(phase="probe", failed=wait([probe], 1), log=(args.out / "probe.txt").read_text()[-1800:])
    finally:
        for server in started:
            server.stop()
    say(phase="done", t=round(budget.spent()))


if __name__ == "__main__":
    main()
