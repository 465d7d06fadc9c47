"""Where an image's bytes come from: memory, files, URIs and text."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
from typing import Any, Optional, Union
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

#: How files begin whose base64 is known by its first characters.
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"\x93NUMPY")

_BASE64_STARTS = ("iVBORw0KGg", "/9j/", "_9j_", "UklGR", "k05VTVBZ")
_SPACE = re.compile(r"\s+")

#: A file's bytes, or the array that a .npy file holds.
Source = Union[memoryview, NDArray[Any]]


def is_source(value: object) -> bool:
    """Whether value is one that `read` knows."""
    return isinstance(value, (bytes, bytearray, memoryview, str, os.PathLike)) or callable(getattr(value, "read", None))


def read(value: Any) -> Source:
    """The bytes of an image file, or an array (h,w,3) or (3,h,w) of a .npy file.

    ``value`` is bytes, a path, an open binary file, a ``data:`` URI, or base64 in a
    text, which may have line breaks. Raises OSError for a file that cannot be read
    and ValueError for what holds no file.
    """
    data = _bytes(value)
    if bytes(data[:6]) == b"\x93NUMPY":
        return _npy(data)
    return data


def _bytes(value: Any) -> memoryview:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return memoryview(value).cast("B")
    if isinstance(value, str):
        decoded = _text(value)
        if decoded is not None:
            return memoryview(decoded)
    if isinstance(value, (str, os.PathLike)):
        with open(value, "rb") as file:
            return memoryview(file.read())
    return memoryview(_file(value))


def _text(value: str) -> Optional[bytes]:
    """The bytes of a ``data:`` URI or of base64; None for a path."""
    if value[:5].lower() == "data:":
        head, comma, rest = value.partition(",")
        if not comma:
            raise ValueError("a data: URI without a comma")
        return _base64(rest) if head.lower().endswith(";base64") else unquote_to_bytes(rest)
    if not value.lstrip().startswith(_BASE64_STARTS):
        return None
    try:
        decoded = _base64(value)
    except ValueError:
        return None
    return decoded if decoded.startswith(SIGNATURES) else None


def _base64(value: str) -> bytes:
    """Bytes of base64 in either alphabet, with or without white space and padding."""
    compact = _SPACE.sub("", unquote_to_bytes(value).decode("ascii", "replace") if "%" in value else value)
    compact = compact.translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as e:
        raise ValueError(f"not base64: {e}") from e


def _file(file: Any) -> bytes:
    """The whole of an open file. One that was just written to, and stands at its
    end, counts from its beginning."""
    if isinstance(file, io.BytesIO):
        return file.getvalue()
    data = file.read()
    if not data and file.seekable():
        file.seek(0)
        data = file.read()
    if isinstance(data, str):
        raise ValueError('a file opened for text: open it with mode "rb"')
    return bytes(data)


def _npy(data: memoryview) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as e:  # a header of any content, with shapes that no memory holds
        raise ValueError(f"not a .npy file of numbers: {e}") from e
    return array
