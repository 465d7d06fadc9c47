"""The whole experiment on one or more GPUs, in one go: base model, probes, pilots, and all methods' seeds side by side.

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
SECOND = HERE.parent / "training/checkpoints/seed1"  # of another seed; no run trains on it
METHODS = ("scalar", "denseflow", "denseflow_paper", "local", "shuffled")
ABLATIONS = ("local:weight=0.5", "local:weight=2", "local:noise=1", "local:coarse=8", "local:coarse=64")
TARGETS = "1e-4,3e-4,1e-3"
PILOT_SEEDS = (101, 102)
ROLLOUTS, WARM = 25, 5
# How the server runs: images never come twice, so that a cache costs and does not pay.
SERVER, SESSIONS = ("--cache", "0", "--queue-samples", "16384", "--queue-bytes", "16GiB"), 2
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


def evaluators():
    """Flags: the embedded checkpoint gives the reward, as the default; the second is there where its checkpoint is."""
    second = ("--evaluator", f"second=imagedoctor:{SECOND}") if SECOND.is_dir() else ()
    return ("--evaluator", "reward=imagedoctor", *second)


def serve(card, args):
    flags = (*evaluators(), "--batch", args.batch, *SERVER, "--log-level", "warn", "--no-access-log")
    env = {"CUDA_VISIBLE_DEVICES": card}
    device = ",".join([args.device] * (args.sessions if args.device != "cpu" else 1))
    server = densereward.LocalServer("--device", device, *flags, program=args.program, env=env, timeout=90)
    with densereward.Client(server.url) as client:
        say(phase="serve", card=card, device=device, evaluators={e["name"]: e["fingerprint"] for e in client.models()["evaluators"]})
    return server


def train(args, card, server, out, log, **flags):
    """Runs side by side on a card: every method with every seed and divergence."""
    out.mkdir(parents=True, exist_ok=True)
    flags = {"base": args.base, "server": server, "out": out, "prompts": args.prompts, "group": args.group, **flags}
    if SECOND.is_dir():
        flags["second"] = "second"
    return start(card, "train.py", *[word for name, value in flags.items() for word in ("--" + name.replace("_", "-"), value)], log=log)


def lines(folder):
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            yield path.stem, json.loads(line)


def pilots(args, cards, servers, seconds):
    """The divergence of an update that the judge likes best, of scalar and local together, on captions that the report does not use."""
    out = args.out / "pilots"
    shares = [PILOT_SEEDS[k::len(cards)] for k in range(len(cards))]
    jobs = [
        train(args, card, server, out / card, args.out / f"pilots-{card}.txt", target=args.targets, method="scalar,local", seed=",".join(map(str, seeds)),
              warm=WARM, seconds=seconds, rollouts=args.rollouts, evaluate="choose", check_every=10)
        for card, server, seeds in zip(cards, servers, shares)
    ]
    failed = wait(jobs, seconds + 60)
    best = None
    for target in args.targets.split(","):
        found = [line for card in cards for _, line in lines(out / card / target)]
        final = [x for x in found if x.get("final")]
        if not final:
            continue
        right = sum(x["judge_right"] for x in final) / len(final)
        before = [x["judge_right"] for x in found if x.get("rollout") == 0 and not x.get("final")]
        each = {f"{x['method']}-{x['seed']}": x["judge_right"] for x in final}
        say(phase="pilot", target=target, right=round(right, 4), before=round(sum(before) / len(before), 4), rollouts=final[0]["rollout"], each=each, failed=failed)
        if best is None or right > best[0]:
            best = right, target
    return best[1] if best else args.targets.split(",")[0]


def runs(args, cards, servers, target, seconds):
    seeds = list(range(args.first_seed, args.first_seed + args.seeds))
    jobs = []
    for k, (card, server) in enumerate(zip(cards, servers)):
        if share := seeds[k::len(cards)]:
            jobs.append(train(args, card, server, args.out / "logs", args.out / f"runs-{card}.txt", target=target, method=args.methods, seed=",".join(map(str, share)),
                              warm=WARM, seconds=seconds, rollouts=args.rollouts, evaluate="report"))
    say(phase="runs", methods=args.methods, seeds=seeds, target=target, rollouts=args.rollouts, seconds=round(seconds))
    say(phase="runs", failed=wait(jobs, seconds + 90))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--gpus", default=os.environ.get("CUDA_VISIBLE_DEVICES") or "0", help="with commas between")
    parser.add_argument("--program", default="densereward")
    parser.add_argument("--device", default="cuda", help="of the server")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=520)
    parser.add_argument("--base", help="a base model instead of training one")
    parser.add_argument("--target", help="divergence of an update, instead of pilots")
    parser.add_argument("--targets", default=TARGETS, help="those that pilots try")
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS, help="of every run, at which methods are compared")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="of every evaluator on a GPU")
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas between; ablations: " + ",".join(ABLATIONS) + "; none stops after the pilots")
    parser.add_argument("--probe", action="store_true", help="how the reward agrees with the judge and how far gradients repeat, beside the pilots")
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
    started = [serve(card, args) for card in cards]
    servers = [s.url for s in started]
    try:
        if base:
            say(phase="base", failed=wait([base], BASE * args.seconds + 60), log=(args.out / "pretrain.txt").read_text()[-1400:], t=round(budget.spent()))
        probe = [start(cards[0], "probe.py", "--base", args.base, "--server", servers[0], "--out", args.out / "probe.json", "--think", log=args.out / "probe.txt")] if args.probe else []
        target = args.target or pilots(args, cards, servers, PILOT * args.seconds - 25 if args.methods else budget.left() - 40)
        say(phase="chosen", target=target, t=round(budget.spent()))
        if args.methods:
            runs(args, cards, servers, target, budget.left() - END * args.seconds - 15)
        if probe:
            say(phase="probe", failed=wait(probe, 1), log=(args.out / "probe.txt").read_text()[-1800:])
    finally:
        for server in started:
            server.stop()
    say(phase="done", t=round(budget.spent()))


if __name__ == "__main__":
    main()
