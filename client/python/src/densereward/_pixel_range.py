"""Whether floats are pixels in [0,1], which they must be to become levels."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

#: What counts as [0,1]: decoders overshoot a little, and are clamped.
LOW, HIGH = -0.05, 1.05

#: The share of an image's values that may lie outside.
TOLERATED = 0.01


def fault(image: NDArray[Any]) -> Optional[str]:
    """What is wrong with the range of an image of floats, with the remedy; None for
    one in [0,1]. NaN and infinity are not looked for here."""
    if image.dtype == np.float16:
        image = image.astype(np.float32)  # numpy compares halves one by one, and slowly
    low, high = float(image.min()), float(image.max())
    if low >= LOW and high <= HIGH:
        return None
    outside = np.count_nonzero(image < LOW) + np.count_nonzero(image > HIGH)
    if outside <= TOLERATED * image.size:
        return None
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return None
    return message(float(finite.min()), float(finite.max()), outside / image.size)


def message(low: float, high: float, share: float) -> str:
    """The text about an image whose values, in [low,high], lie outside to a share."""
    if low >= -1.5 and high <= 1.5:
        remedy = "values in [-1,1] become pixels by (x + 1) / 2"
    elif high > 2:
        remedy = "levels of 0 to 255 go as uint8, or divided by 255"
    else:
        remedy = "pixels are floats in [0,1]"
    return f"{share:.0%} of the values lie outside [{LOW}, {HIGH}], they range from {low:.4g} to {high:.4g}: {remedy}; clamp=True clamps them"

