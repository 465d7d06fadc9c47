"""Tables and figures of a run's logs.

    python report.py RUN --out DIR         # RUN/logs/*.jsonl and, for the sheet of images, *.pt
    python report.py results/first --out DIR    # the same of logs that are kept by themselves

Prints Markdown. All methods are compared at the same rollout, that of --rollout or the last
one at which the judge looked at every run, and paired by seed. Where that is the end of all
runs, the figures are those of the judge's last look, at four images a caption. --last takes
that look of every run and pairs those of a seed that ended at the same rollout. --primary
names what p is of.
"""

import argparse
import json
import math
import pathlib

import numpy as np

# Two-sided 95% quantiles of Student's t by degrees of freedom, from 1.
T95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306]
LOOK = "judge_right"  # in a line where the judge looked
COLUMNS = ["judge_right", "ema_right", "judge_exact", "judge_clean", "judge_flaw_area", "ema_flaw_area", "reward", "alignment", "plausibility"]
COMPARED = ["judge_right", "ema_right", "judge_exact", "judge_clean", "judge_flaw_area", "ema_flaw_area"]
PER_STEP = ["s_draw", "s_score", "s_wait", "s_update"]


def load(folder):
    """{method: {seed: lines}}."""
    runs = {}
    for path in sorted(folder.glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if lines and "method" in lines[0]:
            runs.setdefault(lines[0]["method"], {})[lines[0]["seed"]] = lines
    return runs


def common_rollout(runs):
    """The last rollout at which the judge looked at every run."""
    looked = [{x["rollout"] for x in lines if x["rollout"] and LOOK in x} for seeds in runs.values() for lines in seeds.values()]
    return max(set.intersection(*looked))


def value(lines, name, rollout):
    """The judge's figures at the rollout (None: a run's last), those of the last look where there are two; the reward's, the mean of the ten up to it."""
    if rollout is None:
        rollout = lines[-1]["rollout"]
    if name.startswith(("judge", "ema")):
        return [x[name] for x in lines if x["rollout"] == rollout and name in x][-1]
    found = [x[name] for x in lines if rollout - 10 < x["rollout"] <= rollout and name in x and not x.get("final")]
    return float(np.mean(found)) if found else math.nan


def known(runs, names, at):
    """Those of names that all runs have at the rollout."""
    at = math.inf if at is None else at
    return [n for n in names if all(any(n in x and x["rollout"] <= at and x["rollout"] for x in lines) for seeds in runs.values() for lines in seeds.values())]


def interval(values):
    """Mean and half the 95% interval of Student's t."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()), math.nan
    return float(values.mean()), T95[min(len(values), 9) - 2] * float(values.std(ddof=1)) / math.sqrt(len(values))


def shown(mean, half):
    return f"{mean:.4f} ± {half:.4f}" if math.isfinite(half) else f"{mean:.4f}"


def table(runs, at):
    columns = known(runs, COLUMNS, at)
    print("| | seeds | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 2))
    first = [lines[0] for seeds in runs.values() for lines in seeds.values()]
    print("| before | | " + " | ".join(f"{np.mean([x[c] for x in first]):.4f}" if c in first[0] else "" for c in columns) + " |")
    for method, seeds in runs.items():
        cells = [shown(*interval([value(lines, c, at) for lines in seeds.values()])) for c in columns]
        print(f"| {method} | {len(seeds)} | " + " | ".join(cells) + " |")


def p_value(values):
    """Of Student's two-sided test that the mean of values is 0."""
    values = np.asarray(values, float)
    n = len(values)
    if n < 2 or values.std() == 0:
        return math.nan
    t = abs(values.mean()) / values.std(ddof=1) * math.sqrt(n)
    angle = np.linspace(0, math.atan(t / math.sqrt(n - 1)), 2001)  # the density's integral from 0 to t
    area = np.trapezoid(np.cos(angle) ** (n - 2), angle) if hasattr(np, "trapezoid") else np.trapz(np.cos(angle) ** (n - 2), angle)
    return 1 - 2 * float(area) * math.gamma(n / 2) / math.gamma((n - 1) / 2) / math.sqrt(math.pi)


def against(runs, at, primary, baseline="scalar"):
    """Paired by seed: the difference of every method from the baseline with its interval, and p of the primary measure."""
    if baseline not in runs:
        return
    compared = known(runs, COMPARED, at)
    print(f"\n| against {baseline} | seeds | p of {primary} | " + " | ".join(compared) + " |\n|" + " --- |" * (len(compared) + 3))
    for method, seeds in runs.items():
        both = [s for s in sorted(set(seeds) & set(runs[baseline])) if at or seeds[s][-1]["rollout"] == runs[baseline][s][-1]["rollout"]]
        if method == baseline or not both:
            continue
        found = [[value(seeds[s], c, at) - value(runs[baseline][s], c, at) for s in both] for c in compared]
        print(f"| {method} | {len(both)} | {p_value(found[compared.index(primary)]):.3g} | " + " | ".join("{:+.4f} ± {:.4f}".format(*interval(v)) for v in found) + " |")


def divergences(runs, at, warm=5):
    """How close the divergence of an update was held, behind the warm-up, and how much of it the last step's rate alone would have made."""
    print("\n| divergence of an update | geometric mean | least | most | unscaled, least | most |\n| --- | --- | --- | --- | --- | --- |")
    for method, seeds in runs.items():
        steps = [x for lines in seeds.values() for x in lines if "divergence" in x and warm < x["rollout"] <= (at or math.inf)]
        held, free = ([x[name] for x in steps if name in x and x[name] > 0] for name in ("divergence", "unscaled"))
        if held:
            ends = lambda v: f"{min(v):.2g} | {max(v):.2g}" if v else " | "
            print(f"| {method} | {math.exp(np.mean(np.log(held))):.2g} | {ends(held)} | {ends(free)} |")


def beyond(runs):
    """What neither the reward nor the judge is, before and after: distance to drawn scenes, and R of the second evaluator."""
    names = [n for n in ("distance", "second") if all(n in lines[0] and n in lines[-1] for seeds in runs.values() for lines in seeds.values())]
    if not names:
        return
    print("\n| at the end | " + " | ".join(names) + " |\n|" + " --- |" * (len(names) + 1))
    first = [lines[0] for seeds in runs.values() for lines in seeds.values()]
    print("| before | " + " | ".join(f"{np.mean([x[n] for x in first]):.4f}" for n in names) + " |")
    for method, seeds in runs.items():
        print(f"| {method} | " + " | ".join(shown(*interval([lines[-1][n] for lines in seeds.values()])) for n in names) + " |")


def costs(runs):
    """Without each run's first rollout, for which the server is waited for: nothing hides it."""
    print("\n| | rollouts | failed samples | " + " | ".join(PER_STEP) + " | seconds a rollout | server's share |\n|" + " --- |" * (len(PER_STEP) + 5))
    everything = {(method, seed): lines for method, seeds in runs.items() for seed, lines in seeds.items()}
    for method, seeds in [*runs.items(), ("all", everything)]:
        steps = [x for lines in seeds.values() for x in lines if "s_draw" in x]
        mean = {c: float(np.mean([x[c] for x in steps if x["rollout"] > 1])) for c in PER_STEP}
        whole = mean["s_draw"] + mean["s_wait"] + mean["s_update"]
        last = [max(x["rollout"] for x in lines) for lines in seeds.values()]
        print(f"| {method} | {min(last)}-{max(last)} | {sum(x['failed'] for x in steps)} | " + " | ".join(f"{mean[c]:.2f}" for c in PER_STEP) + f" | {whole:.2f} | {mean['s_wait'] / whole:.1%} |")


def curves(runs, out):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    names = [n for n in ("judge_right", "ema_right", "judge_exact", "judge_flaw_area", "reward") if n in ("reward", *known(runs, COMPARED, 10**9))]
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 3.6))
    for axis, name in zip(axes, names):
        for method, seeds in runs.items():
            series = [{x["rollout"]: x[name] for x in lines if name in x} for lines in seeds.values()]
            at = sorted(set.intersection(*map(set, series)))
            values = np.array([[s[k] for k in at] for s in series])
            if name == "reward" and len(at) > 5:
                values = np.array([np.convolve(v, np.ones(5) / 5, "valid") for v in values])
                at = at[4:]
            mean, spread = values.mean(0), values.std(0)
            axis.plot(at, mean, label=method, linestyle="--" if method in ("scalar", "shuffled") else "-")
            axis.fill_between(at, mean - spread, mean + spread, alpha=0.15)
        axis.set_title(name)
        axis.set_xlabel("rollout")
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=9, fontsize=8)
    figure.savefig(out / "curves.png", dpi=80)


def sheet(folder, runs, out):
    """Rows of images from the same noise, one method a row (seed 1), what the judge calls flawed outlined."""
    import torch
    from PIL import Image
    rows = []
    for method in runs:
        path = folder / f"{method.replace(':', '_')}-1.pt"
        if path.exists():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            images = saved["images"][:20].permute(0, 2, 3, 1).numpy().copy()
            for i, right in enumerate(saved["right"][:20].tolist()):
                if not right:
                    images[i][[0, -1], :] = (255, 0, 0)
                    images[i][:, [0, -1]] = (255, 0, 0)
            rows.append(np.concatenate(list(images), 1))
    if rows:
        whole = Image.fromarray(np.concatenate(rows, 0))
        whole.quantize(128).save(out / "images.png", optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--primary", default=LOOK, choices=COMPARED)
    parser.add_argument("--last", action="store_true")
    parser.add_argument("--rollout", type=int, help="at which methods are compared [the last common one]")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    logs = args.run / "logs" if (args.run / "logs").is_dir() else args.run
    runs = load(logs)
    at = None if args.last else args.rollout or common_rollout(runs)
    print(f"At rollout {at}:\n" if at else "At the end of each run:\n")
    table(runs, at)
    against(runs, at, args.primary)
    against(runs, at, args.primary, "shuffled")
    divergences(runs, at)
    beyond(runs)
    costs(runs)
    curves(runs, args.out)
    sheet(logs, runs, args.out)


if __name__ == "__main__":
    main()
