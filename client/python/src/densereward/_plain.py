"""Values of a caller as the plain ones that travel."""

from __future__ import annotations

import operator
from typing import Any, Mapping, Optional

import numpy as np

from ._tensor import is_torch


def text(value: Any, field: str) -> str:
    """value, or that of an array without dimensions, as a str of Python's own class. Raises TypeError for anything else,
    and ValueError for half a surrogate pair, which is no character."""
    value = scalar(value)
    if not isinstance(value, str):
        raise TypeError(f"{field}: want a text, got {type(value).__name__}")
    wrong = surrogate(value)
    if wrong is not None:
        raise ValueError(f"{field}: {wrong}")
    return str.__str__(value)


def surrogate(value: str) -> Optional[str]:
    """What is wrong with a text that cannot be written in UTF-8, or None."""
    try:
        value.encode()
    except UnicodeEncodeError as e:
        found = f"half a surrogate pair, U+{ord(value[e.start]):04X}, at character {e.start}"
        return f"{found}; text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') mends it"
    return None


def whole(value: Any, field: str) -> int:
    """value as an int: of Python, numpy or torch."""
    try:
        return operator.index(scalar(value))
    except TypeError:
        raise TypeError(f"{field}: want a whole number, got {value!r}") from None


def name(value: Any, field: str) -> str:
    """A name, for which a whole number may stand."""
    value = scalar(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value, field)


def scalar(value: Any) -> Any:
    """A scalar of numpy, or an array or tensor without dimensions, as Python's own;
    anything else as it is."""
    if isinstance(value, np.generic) or ((is_torch(value) or isinstance(value, np.ndarray)) and len(value.shape) == 0):
        return value.item()
    return value


def plain(value: Any, field: str) -> Any:
    """value with every mapping a dict, every sequence a list and every number one
    of Python's. Raises TypeError and ValueError that name the field."""
    value = scalar(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"{field}: {value} does not fit in 64 bits")
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return value
    if isinstance(value, str):
        return text(value, field)
    if isinstance(value, Mapping):
        return {text(key, field): plain(item, f"{field}.{key}") for key, item in value.items()}
    if is_torch(value) or isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{field}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{field}: want numbers, texts, lists and maps, got {type(value).__name__}")
