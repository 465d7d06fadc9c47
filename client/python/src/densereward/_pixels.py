"""Floats in [0,1] to 8-bit levels, as trainers and the server both round them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ._errors import NotFiniteError
from ._tensor import is_torch


def to_uint8(images: Any) -> Any:
    """Images of floats in [0,1] as uint8 of the same shape, layout and device.

    Levels are ``(x*255).round()``, halves to even, clamped to [0,255], the product
    in the given type (float64 counts as float32): exactly what the server makes of
    such floats, in a quarter of float32's bytes. On a GPU it costs next to
    nothing. uint8 comes back as it is. Raises `NotFiniteError` where a value is NaN or
    infinite, which has no level.
    """
    if is_torch(images):
        torch = sys.modules["torch"]
        if images.dtype == torch.uint8:
            return images
        images = images.detach()
        if images.dtype == torch.float64:
            images = images.float()
        if not bool(torch.isfinite(images).all()):
            raise NotFiniteError("the images hold NaN or infinity")
        # Old versions of torch cannot round 16-bit floats on a CPU; the product
        # is of the given type all the same.
        return (images * 255).float().round().clamp(0, 255).to(torch.uint8)
    array = np.asarray(images)
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise NotFiniteError("the images hold NaN or infinity")
    # The 16-bit product may overflow to infinity, which the clamp takes care of.
    with np.errstate(over="ignore"):
        levels = np.rint(array * array.dtype.type(255))
    return np.clip(levels, 0, 255).astype(np.uint8)
