"""The names of version 0.1, which keep working: exceptions without the suffix
Error, and modules without the underscore."""

from __future__ import annotations

import importlib
import sys
from typing import Dict, Type

from . import _errors
from ._errors import DenseRewardError

_ERRORS = """
BodyTimeout BodyTooLarge Canceled ConnectionFailed DeadlineExceeded EvaluatorFailed GridMismatch GroupConflict
GroupIncomplete ImageCorrupt ImageCountMismatch ImageTooLarge ImageUnsupported Internal InvalidResponse InvalidValue
MalformedBody MethodNotAllowed MissingField ModelMismatch NotFinite NotFound NotReady Overloaded TooManyGroups
TooManyImages Unauthorized UnknownEvaluator UnknownField UnknownVAE UnsupportedDType UnsupportedMediaType
UnsupportedMode UntrustedServer
""".split()

_MODULES = "call client errors merge message pixels request response samples sender servers tensor transport".split()
_RENAMED_MODULES = {"asynchronous": "_async_client", "local": "_local_server"}

#: The classes by their old names.
OLD_ERRORS: Dict[str, Type[DenseRewardError]] = {
    **{name: getattr(_errors, name + "Error") for name in _ERRORS},
    "SampleErrors": _errors.SamplesFailedError,
}

vars(_errors).update(OLD_ERRORS)
for _old, _new in {**{name: "_" + name for name in _MODULES}, **_RENAMED_MODULES}.items():
    sys.modules[f"{__package__}.{_old}"] = importlib.import_module(f"{__package__}.{_new}")
