"""A table of figures that evaluate.py measured, as Markdown: the mean and deviation over several files, or a column each.

    python table.py [--columns] METRICS.json...
"""

import argparse
import json
import math
import statistics

ROWS = {
    "PLCC alignment": ("heldout", "answer", "alignment", "PLCC"), "PLCC aesthetics": ("heldout", "answer", "aesthetics", "PLCC"),
    "PLCC plausibility": ("heldout", "answer", "plausibility", "PLCC"), "PLCC overall": ("heldout", "answer", "overall", "PLCC"),
    "CC misalignment heatmap": ("heldout", "answer", "misalignment", "CC"), "CC artifact heatmap": ("heldout", "answer", "artifact", "CC"),
    "PLCC alignment (think)": ("heldout", "think", "alignment", "PLCC"), "PLCC overall (think)": ("heldout", "think", "overall", "PLCC"),
    "CC misalignment (think)": ("heldout", "think", "misalignment", "CC"), "CC artifact (think)": ("heldout", "think", "artifact", "CC"),
    "IoU of the best box (think)": ("heldout", "think", "boxes", "IoU of the best"),
    "well formed (think)": ("heldout", "think", "well formed"),
    "spoiled images below .3": ("spoiled", "answer", "all", "plausibility below 0.3"),
}


def read(metrics, path):
    """The figure at a path of keys, None where there is none: a correlation of few images may be NaN."""
    for key in path:
        metrics = metrics.get(key) if isinstance(metrics, dict) else None
    return None if metrics is None or math.isnan(metrics) else metrics


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--columns", action="store_true", help="a column for each file")
    a.add_argument("files", nargs="+")
    args = a.parse_args()
    every = []
    for name in args.files:
        with open(name, encoding="utf-8") as f:
            every.append(json.load(f))
    heads = args.files if args.columns else [f"mean of {len(every)}", "deviation"]
    print("| |", " | ".join(heads), "|\n| ---" + " | ---" * len(heads), "|")
    for row, path in ROWS.items():
        values = [read(m, path) for m in every]
        if all(v is None for v in values):
            continue
        if not args.columns:
            there = [v for v in values if v is not None]
            values = [statistics.mean(there), statistics.stdev(there) if len(there) > 1 else None]
        print(f"| {row} |", " | ".join("" if v is None else f"{v:.3f}" for v in values), "|")


if __name__ == "__main__":
    main()
