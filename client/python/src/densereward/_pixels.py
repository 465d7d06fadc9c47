"""Floats in [0,1] to 8-bit levels, as trainers and the server both round them."""

from __future__ import annotations

import math
import sys
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _pixel_range as pixel_range
from ._errors import PixelRangeError, NotFiniteError
from ._tensor import is_torch, numpy_array

A = TypeVar("A")


def to_uint8(images: A, *, clamp: bool = False) -> A:
    """Images of floats in [0,1] as uint8 of the same shape, layout and device.

    ``images`` is a numpy array or a torch tensor, one image or a batch (N,...).
    Levels are ``(x*255).round()``, halves to even, clamped to [0,255], the product
    in the given type (float64 counts as float32): exactly what the server makes of
    such floats, in a quarter of float32's bytes. On a GPU it costs next to
    nothing. uint8 comes back as it is.

    Raises `NotFiniteError` where a value is NaN or infinite, which has no level,
    and `PixelRangeError` where more than 1% of an image's values lie outside
    [-0.05, 1.05], unless ``clamp`` is true.
    """
    levels: A = _torch_levels(images, clamp) if is_torch(images) else _levels(numpy_array(images), clamp)
    return levels


def _levels(array: NDArray[Any], clamp: bool) -> Any:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        array = array.astype(np.float32)
    values = array.astype(np.float32) if array.dtype == np.float16 else array
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not math.isfinite(low) or not math.isfinite(high):
        raise NotFiniteError("the images hold NaN or infinity")
    if not clamp and (low < pixel_range.LOW or high > pixel_range.HIGH):
        for i, image in enumerate(values if values.ndim == 4 else values[None]):
            wrong = pixel_range.fault(image)
            if wrong is not None:
                raise PixelRangeError(f"image {i}: {wrong}")
    # The 16-bit product may overflow to infinity, which the clamp takes care of.
    with np.errstate(over="ignore"):
        levels = np.rint(array * array.dtype.type(255))
    return np.clip(levels, 0, 255).astype(np.uint8)


def _torch_levels(images: Any, clamp: bool) -> Any:
    torch = sys.modules["torch"]
    if images.dtype == torch.uint8:
        return images
    if 0 in images.shape:
        return images.to(torch.uint8)
    images = images.detach()
    if images.dtype == torch.float64:
        images = images.float()
    values = images.float()  # old versions of torch cannot do much with 16-bit floats on a CPU
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise NotFiniteError("the images hold NaN or infinity")
    if not clamp and (low < pixel_range.LOW or high > pixel_range.HIGH):
        for i, image in enumerate(values if len(values.shape) == 4 else [values]):
            wrong = pixel_range.fault(image.cpu().numpy())
            if wrong is not None:
                raise PixelRangeError(f"image {i}: {wrong}")
    # The product is of the given type, as the server's is.
    return (images * 255).float().round().clamp(0, 255).to(torch.uint8)
