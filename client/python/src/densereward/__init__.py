"""Client of DenseReward, a reward-model server for reinforcement learning of
text-to-image flow models.

    import densereward

    client = densereward.Client("http://localhost:8080")
    result = client.score(images, prompts, grid="sd3", advantage="flowgrpo")
    result.rewards       # float64 (N)
    result.dense.reward  # float32 (N,h,w), on the latent grid
    result.advantages    # float64 (N)

Arrays that are row major go out from the caller's memory; copied are float64, and
the samples of a split batch whose groups are interleaved. No pickle is ever
written or read.
"""

from ._async_client import AsyncClient
from ._client import Client
from ._errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    CanceledError,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    DenseRewardError,
    EvaluatorFailedError,
    GridMismatchError,
    GroupConflictError,
    GroupIncompleteError,
    ImageCorruptError,
    ImageCountMismatchError,
    ImageTooLargeError,
    ImageUnsupportedError,
    InternalError,
    InvalidResponseError,
    InvalidValueError,
    MalformedBodyError,
    MethodNotAllowedError,
    MissingFieldError,
    MissingPartsWarning,
    ModelMismatchError,
    NotFiniteError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PartMissingError,
    PixelRangeError,
    SamplesFailedError,
    ServerError,
    TooManyGroupsError,
    AnswerTruncatedError,
    TooManyImagesError,
    UnauthorizedError,
    UnknownEvaluatorError,
    UnknownFieldError,
    UnknownVAEError,
    UnsupportedDTypeError,
    UnsupportedMediaTypeError,
    UnsupportedModeError,
    UntrustedServerError,
    error_codes,
)
from ._job import Job
from ._local_server import LocalServer
from ._old_names import OLD_ERRORS
from ._pixels import to_uint8
from ._request import Groups
from ._response import Box, Dense, Heatmaps, Result
from ._types import Advantage, BoxPenalty, Decoder, Evaluator, ImageLike, Models, Weights

__version__ = "0.2.0"

__all__ = [
    "Advantage",
    "AsyncClient",
    "BodyTimeoutError",
    "BodyTooLargeError",
    "Box",
    "BoxPenalty",
    "CanceledError",
    "Client",
    "ConfigurationError",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "Decoder",
    "Dense",
    "DenseRewardError",
    "Evaluator",
    "EvaluatorFailedError",
    "GridMismatchError",
    "GroupConflictError",
    "GroupIncompleteError",
    "Groups",
    "Heatmaps",
    "ImageCorruptError",
    "ImageCountMismatchError",
    "ImageLike",
    "ImageTooLargeError",
    "ImageUnsupportedError",
    "InternalError",
    "InvalidResponseError",
    "InvalidValueError",
    "Job",
    "LocalServer",
    "MalformedBodyError",
    "MethodNotAllowedError",
    "MissingFieldError",
    "MissingPartsWarning",
    "ModelMismatchError",
    "Models",
    "NotFiniteError",
    "NotFoundError",
    "NotReadyError",
    "OverloadedError",
    "PartMissingError",
    "PixelRangeError",
    "Result",
    "SamplesFailedError",
    "ServerError",
    "TooManyGroupsError",
    "AnswerTruncatedError",
    "TooManyImagesError",
    "UnauthorizedError",
    "UnknownEvaluatorError",
    "UnknownFieldError",
    "UnknownVAEError",
    "UnsupportedDTypeError",
    "UnsupportedMediaTypeError",
    "UnsupportedModeError",
    "UntrustedServerError",
    "Weights",
    "error_codes",
    "to_uint8",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__  # where people find it, in tracebacks and pickles
globals().update(OLD_ERRORS)
