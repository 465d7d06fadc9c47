"""A reward server as they are commonly written: Flask, gunicorn and pickle.

The request is a pickled dict of JPEG files and prompts, the answer a pickled
dict of scores and maps. The evaluator is a stand-in that costs nothing.
Unpickling runs whatever code a request carries: never put this on a network.
"""

import io
import pickle

import numpy as np
from flask import Flask, request
from PIL import Image

app = Flask(__name__)


def evaluate(images, prompts):
    """Scores and maps that follow from the first pixel of each image."""
    first = np.array([im[0, 0, 0] for im in images], np.float32) / 255
    maps = np.broadcast_to(first[:, None, None], (len(images), 64, 64)).copy()
    return first, maps


@app.route("/health")
def health():
    return "ok"


@app.route("/", methods=["POST"])
def score():
    data = pickle.loads(request.get_data())
    images = [np.asarray(Image.open(io.BytesIO(b)).convert("RGB")) for b in data["images"]]
    scores, maps = evaluate(images, data["prompts"])
    return pickle.dumps({"scores": scores, "maps": maps})
