"""A reward server as they are commonly written: FastAPI and base64 PNG in JSON.

The evaluator is a stand-in that costs nothing.
"""

import base64
import io

import numpy as np
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel

app = FastAPI()


class Query(BaseModel):
    images: list[str]
    prompts: list[str]


def evaluate(images, prompts):
    """Scores and maps that follow from the first pixel of each image."""
    first = np.array([im[0, 0, 0] for im in images], np.float32) / 255
    maps = np.broadcast_to(first[:, None, None], (len(images), 64, 64)).copy()
    return first, maps


@app.get("/health")
def health():
    return "ok"


@app.post("/")
def score(query: Query):
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(b))).convert("RGB")) for b in query.images]
    scores, maps = evaluate(images, query.prompts)
    return {"scores": scores.tolist(), "maps": maps.tolist()}
