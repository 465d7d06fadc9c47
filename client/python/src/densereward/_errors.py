"""What can go wrong, one class for each error code of the protocol.

``except densereward.OverloadedError`` and ``except densereward.ServerError`` both
work: every class that stands for a code derives from `ServerError`, and all
errors of this package derive from `DenseRewardError`. Codes are append-only: one
that this version does not know becomes a plain `ServerError` that keeps its text.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Dict, Mapping, Optional, Type


class DenseRewardError(Exception):
    """Any failure that this package reports."""


class ConnectionFailedError(DenseRewardError):
    """No server could be reached, or the connection broke before the answer."""


class ConfigurationError(DenseRewardError):
    """The client's settings do not fit what is at the address: TLS where there is
    none, a path that is not there, a redirection. The text names the remedy;
    another try would not better it, and none is made."""


class UntrustedServerError(ConfigurationError):
    """The server's certificate is not one to be trusted."""


class MissingPartsWarning(UserWarning):
    """The evaluator's answers lacked scores or maps, which counted as zero, and
    the caller did not say whether that is meant."""


class InvalidResponseError(DenseRewardError):
    """The answer is not one of protocol version 1."""


class ModelMismatchError(DenseRewardError):
    """Servers of one client hold different checkpoints, so that the rewards of
    one batch would not be comparable."""


class SamplesFailedError(DenseRewardError):
    """Samples of a batch that failed; ``errors`` maps their places to the
    reasons, and ``total`` is the size of the batch."""

    def __init__(self, errors: Mapping[int, "ServerError"], total: int) -> None:
        self.errors: Dict[int, ServerError] = dict(errors)
        self.total = total
        super().__init__(self.errors, total)

    def __str__(self) -> str:
        place, first = next(iter(self.errors.items()))
        return f"{len(self.errors)} of {self.total} samples failed, first sample {place}: {first}"


class ServerError(DenseRewardError):
    """An error that a server reported, of a whole request or of one sample, or
    that this client found in its place.

    ``code`` is its stable name, ``status`` the HTTP status that goes with it,
    ``message`` a text for people and ``request_id`` what the server's log calls
    the request (None for the error of a sample).
    """

    code: str = ""
    status: int = 0

    def __init__(
        self,
        message: str,
        *,
        code: Optional[str] = None,
        status: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> None:
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        self.message = message
        self.request_id = request_id
        super().__init__(message)  # what pickle gives the constructor of the copy

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class MalformedBodyError(ServerError):
    """The body is not msgpack, is cut short, or claims more than it holds."""

    code, status = "malformed_body", 400


class UnknownFieldError(ServerError):
    """A map holds a key that the server's protocol does not define."""

    code, status = "unknown_field", 400


class MissingFieldError(ServerError):
    """A field that the request needs is absent."""

    code, status = "missing_field", 400


class InvalidValueError(ServerError):
    """A field has the wrong type, shape, range or name."""

    code, status = "invalid_value", 400


class UnsupportedDTypeError(ServerError):
    """A tensor's type is not one that its field takes."""

    code, status = "unsupported_dtype", 400


class NotFiniteError(ServerError):
    """A number is NaN or infinite; for an image, of that sample alone."""

    code, status = "not_finite", 400


class ImageCountMismatchError(ServerError):
    """Images, latents, groups or members are not as many as the prompts."""

    code, status = "image_count_mismatch", 400


class TooManyImagesError(ServerError):
    """More samples than the server takes in one request."""

    code, status = "too_many_images", 413


class BodyTooLargeError(ServerError):
    """The body is longer than the server's limit."""

    code, status = "body_too_large", 413


class ImageCorruptError(ServerError):
    """An image file's bytes cannot be decoded."""

    code, status = "image_corrupt", 400


class ImageUnsupportedError(ServerError):
    """An image file is of a format that the server does not read."""

    code, status = "image_unsupported", 415


class ImageTooLargeError(ServerError):
    """An image's declared or decoded size exceeds the limit."""

    code, status = "image_too_large", 413


class GridMismatchError(ServerError):
    """The maps of a group differ in size, and its method compares them location by location."""

    code, status = "grid_mismatch", 400


class UnknownEvaluatorError(ServerError):
    """The server has no evaluator of that name."""

    code, status = "unknown_evaluator", 404


class UnknownVAEError(ServerError):
    """The server has no latent decoder of that name."""

    code, status = "unknown_vae", 404


class UnsupportedModeError(ServerError):
    """The evaluator does not answer in that mode."""

    code, status = "unsupported_mode", 400


class UnsupportedMediaTypeError(ServerError):
    """The request's Content-Type is not that of the protocol."""

    code, status = "unsupported_media_type", 415


class NotFoundError(ServerError):
    """No such path; the address may not be that of a DenseReward server."""

    code, status = "not_found", 404


class MethodNotAllowedError(ServerError):
    """The path does not answer this HTTP method."""

    code, status = "method_not_allowed", 405


class UnauthorizedError(ServerError):
    """The request carries no valid token."""

    code, status = "unauthorized", 401


class BodyTimeoutError(ServerError):
    """The body did not arrive in time."""

    code, status = "body_timeout", 408


class OverloadedError(ServerError):
    """The server's queue is full. The client waits and tries again by itself."""

    code, status = "overloaded", 429


class NotReadyError(ServerError):
    """The model is not loaded yet, or the server is shutting down. The client
    waits and tries again by itself."""

    code, status = "not_ready", 503


class DeadlineExceededError(ServerError):
    """The time ran out before the answer, here or at the server."""

    code, status = "deadline_exceeded", 504


class CanceledError(ServerError):
    """The request was given up before its answer."""

    code, status = "canceled", 499


class EvaluatorFailedError(ServerError):
    """The evaluator could not score this sample or batch."""

    code, status = "evaluator_failed", 500


class InternalError(ServerError):
    """A fault of the server; its log has the request id."""

    code, status = "internal", 500


class GroupIncompleteError(ServerError):
    """A group that spans requests was not complete at its deadline; the message
    lists the members that are missing."""

    code, status = "group_incomplete", 504


class GroupConflictError(ServerError):
    """Requests of one group disagree about its size, method or grid, or a
    member came twice."""

    code, status = "group_conflict", 409


class TooManyGroupsError(ServerError):
    """Too many groups wait for members."""

    code, status = "too_many_groups", 429


class AnswerTruncatedError(ServerError):
    """A model's answer reached its limit of tokens without an end."""

    code, status = "answer_truncated", 500


class PartMissingError(ServerError):
    """The evaluator left out scores or heatmaps of this sample, which the caller
    does not take for zero."""

    code, status = "part_missing", 500


class PixelRangeError(ServerError):
    """More than 1% of an image's floats lie outside [-0.05, 1.05]: they are in [-1,1]
    or levels of 0 to 255, and clamped they would be another image."""

    code, status = "pixel_range", 400


_BY_CODE: Mapping[str, Type[ServerError]] = MappingProxyType({c.code: c for c in ServerError.__subclasses__()})


def error_codes() -> Dict[str, Type[ServerError]]:
    """The class of each error code that this version knows."""
    return dict(_BY_CODE)


def server_error(code: str, message: str, status: Optional[int] = None, request_id: Optional[str] = None) -> ServerError:
    """The error that a code on the wire stands for. The status is the code's own
    where it is known, that of the HTTP answer where it is not."""
    known = _BY_CODE.get(code)
    if known is not None:
        return known(message, request_id=request_id)
    return ServerError(message, code=code, status=status, request_id=request_id)
