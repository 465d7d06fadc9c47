"""Writes goldens.json.gz: what other people's code gives for random and for odd
inputs. scipy 1.17.1 for correlations and intervals, scikit-learn for precision, recall
and F1, pysaliency 0.2.22 for the metrics of maps, and the published SDG-Eval for
boxes (github.com/nianbai006/SDG at commit 2374570).

    python goldens.py SDG/eval/code   # pysaliency needs setuptools < 80
"""

import gzip
import json
import math
import sys
from pathlib import Path

import numpy

numpy.trapz = numpy.trapezoid  # the name that pysaliency 0.2.22 knows
import pysaliency
import pysaliency.metrics
import scipy.stats
from sklearn.metrics import precision_recall_fscore_support

sys.path.insert(0, sys.argv[1])
from evaluate import match_boxes

random = numpy.random.default_rng(15)


def correlations():
    pairs = [(random.normal(size=n), random.normal(size=n)) for n in (2, 3, 10, 200)]
    x = random.normal(size=300)
    pairs.append((x, x + 0.5 * random.normal(size=300)))
    pairs.append((random.integers(0, 5, 150), random.integers(0, 3, 150)))  # ties on both sides
    pairs.append((numpy.arange(9), numpy.arange(9)[::-1]))
    pairs.append((1e6 + random.normal(size=50), 1e-200 * random.normal(size=50)))
    pairs.append((1e200 * random.normal(size=50), random.normal(size=50)))
    out = []
    for x, y in pairs:
        x, y = numpy.asarray(x, float), numpy.asarray(y, float)
        out.append({
            "x": x.tolist(), "y": y.tolist(),
            # Pearson's does not depend on the scale; scipy's overflows.
            "plcc": scipy.stats.pearsonr(x / abs(x).max(), y / abs(y).max())[0],
            "srcc": scipy.stats.spearmanr(x, y)[0], "kendall": scipy.stats.kendalltau(x, y)[0],
        })
    return out


class Fixed(pysaliency.SaliencyMapModel):
    def __init__(self, values):
        super().__init__(caching=False)
        self.values = values

    def _saliency_map(self, stimulus):
        return self.values


def heatmaps():
    def blob(height, width, y, x, size):
        rows, columns = numpy.mgrid[:height, :width]
        return numpy.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * size**2))

    def quantised(values):  # as heatmaps are stored, with many ties and zeros
        return numpy.round(values * 255) / 255

    cases = []
    for height, width in [(12, 12), (24, 16), (20, 20), (9, 31)]:
        truth = quantised(blob(height, width, height * random.random(), width * random.random(), 2))
        noise = random.random((height, width))
        cases += [(noise, truth), (quantised(noise * noise), truth), (quantised(0.7 * blob(height, width, 5, 5, 3)), truth), (truth, truth)]
    cases.append((numpy.zeros((8, 8)), quantised(blob(8, 8, 3, 3, 1))))
    cases.append((numpy.full((8, 8), 0.25), quantised(blob(8, 8, 3, 3, 1))))
    sparse = numpy.zeros((10, 10))
    sparse[2, 3] = 1
    cases.append((random.random((10, 10)), sparse))
    out = []
    for predicted, truth in cases:
        predicted, truth = (m.astype(numpy.float32).astype(float) for m in (predicted, truth))
        ys, xs = numpy.nonzero(truth > 0)
        zeros = numpy.zeros_like(xs)
        fixations = pysaliency.FixationTrains.from_fixation_trains([xs], [ys], [zeros], [0], [0])
        stimuli = pysaliency.Stimuli([numpy.zeros((*truth.shape, 3), numpy.uint8)])
        cc = pysaliency.metrics.CC(predicted, truth)
        out.append({
            "height": truth.shape[0], "width": truth.shape[1], "predicted": predicted.reshape(-1).tolist(), "truth": truth.reshape(-1).tolist(),
            "mse": float(((predicted - truth) ** 2).mean()),
            "cc": float(cc),
            "kld": float(pysaliency.metrics.MIT_KLDiv(predicted.copy(), truth.copy())),
            "sim": float(pysaliency.metrics.SIM(predicted.copy(), truth.copy())),
            "nss": float(pysaliency.metrics.NSS(predicted, xs, ys).mean()),
            "auc_judd": float(Fixed(predicted).AUC_Judd(stimuli, fixations, jitter=False)),
        })
    return out


def presence():
    out = []
    for n, share in [(1, 0.5), (50, 0.5), (50, 0.02), (20, 1.0), (20, 0.0)]:
        predicted = random.choice([0, 0.1, 0.2, 0.33, 0.5, 1.0], n)
        truth = random.choice([0.05, 0.1, 0.3, 0.33, 0.9], n) * (random.random(n) < share)
        for threshold in (0, 0.1, 0.33):
            p, r, f, _ = precision_recall_fscore_support(truth > threshold, predicted > threshold, average="binary", zero_division=0)
            out.append({"predicted": predicted.tolist(), "truth": truth.tolist(), "threshold": threshold, "precision": p, "recall": r, "f1": f})
    return out


def boxes(match_boxes):
    out = []
    for n, m in [(0, 0), (0, 3), (4, 0), (1, 1), (5, 6), (12, 9), (20, 20), (30, 25)]:
        def draw(count):
            corner = random.integers(0, 300, (count, 2)) // 50 * 50
            coords = numpy.concatenate([corner, corner + random.integers(150, 700, (count, 2)) // 50 * 50], 1).clip(0, 1000)
            coords[random.random(count) < 0.2] = [100, 200, 600, 700]  # some alike
            labels = random.choice(["artifact", "misalignment", "both", ""], count, p=[0.4, 0.4, 0.1, 0.1])
            return [{"box_2d": box.tolist(), "label": str(label)} for box, label in zip(coords, labels)]
        predicted, truth = draw(n), draw(m)
        for threshold in (0.1, 0.5):
            matched = len(match_boxes(truth, predicted, threshold)["matches"])
            out.append({"predicted": predicted, "truth": truth, "threshold": threshold, "matched": matched})
    return out


def intervals():
    means, rates = [], []
    for n in (2, 5, 100):
        values = random.normal(3, 2, n)
        for level in (0.9, 0.95):
            low, high = scipy.stats.t.interval(level, n - 1, values.mean(), scipy.stats.sem(values))
            means.append({"values": values.tolist(), "level": level, "value": values.mean(), "low": low, "high": high})
    for won, n in [(0, 4), (4, 4), (3, 10), (500, 1000)]:
        for level in (0.9, 0.95):
            bounds = scipy.stats.binomtest(won, n).proportion_ci(level, method="wilson")
            rates.append({"won": won, "lost": n - won, "level": level, "low": bounds.low, "high": bounds.high})
    resampled = random.normal(size=537)
    percentiles = [{"level": level, "resampled": resampled.tolist(),
                    "low": numpy.percentile(resampled, 50 - 50 * level), "high": numpy.percentile(resampled, 50 + 50 * level)}
                   for level in (0.5, 0.9, 0.95)]
    return {"means": means, "rates": rates, "percentiles": percentiles}


goldens = {"correlations": correlations(), "heatmaps": heatmaps(), "presence": presence(), "boxes": boxes(match_boxes), **intervals()}


def check(value):
    if isinstance(value, dict):
        [check(v) for v in value.values()]
    elif isinstance(value, list):
        [check(v) for v in value]
    elif not isinstance(value, str):
        assert math.isfinite(value)


check(goldens)
with open(Path(__file__).with_name("goldens.json.gz"), "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
    packed.write(json.dumps(goldens).encode())
