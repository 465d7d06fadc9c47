"""What callers should know about answers that are no errors, said once a client."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from typing import Set

from ._errors import MissingPartsWarning
from ._request import Options
from ._response import Result
from ._types import NumpyArray

log = logging.getLogger("densereward")

#: Different texts that a client says once each, so that what it remembers is bounded.
_MOST_TOLD = 256


class Notices:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: Set[str] = set()

    def tell(self, result: Result[NumpyArray], options: Options) -> None:
        """Logs the server's warnings; warns of parts that count as zero where the caller did not say what they should be."""
        for text in result.warnings:
            if self._is_news(text):
                log.warning("%s", text)
        if options.missing is not None:
            return
        for place, names in enumerate(result.missing):
            if names and result.errors[place] is None and self._is_news("missing"):
                found = f"the answer for sample {place} lacks {', '.join(names)}, which count as zero"
                remedy = 'missing="error" makes an error of that, missing="zero" says that it is meant'
                warnings.warn(f"{found}; {remedy}", MissingPartsWarning, stacklevel=_callers_level())

    def _is_news(self, text: str) -> bool:
        with self._lock:
            if text in self._told or len(self._told) >= _MOST_TOLD:
                return False
            self._told.add(text)
            return True


def _callers_level() -> int:
    """How many calls up the first one outside this package is, for `warnings`."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__package__") == __package__:
        level, frame = level + 1, frame.f_back
    return level
