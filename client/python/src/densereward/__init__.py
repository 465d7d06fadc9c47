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

from .asynchronous import AsyncClient
from .client import Client
from .errors import (
    BodyTimeout,
    BodyTooLarge,
    Canceled,
    ConnectionFailed,
    DeadlineExceeded,
    DenseRewardError,
    EvaluatorFailed,
    GridMismatch,
    GroupConflict,
    GroupIncomplete,
    ImageCorrupt,
    ImageCountMismatch,
    ImageTooLarge,
    ImageUnsupported,
    Internal,
    InvalidResponse,
    InvalidValue,
    MalformedBody,
    MethodNotAllowed,
    MissingField,
    ModelMismatch,
    NotFinite,
    NotFound,
    NotReady,
    Overloaded,
    SampleErrors,
    ServerError,
    TooManyGroups,
    TooManyImages,
    Unauthorized,
    UnknownEvaluator,
    UnknownField,
    UnknownVAE,
    UnsupportedDType,
    UnsupportedMediaType,
    UnsupportedMode,
    UntrustedServer,
    error_codes,
)
from .local import LocalServer
from .pixels import to_uint8
from .request import Groups
from .response import Box, Dense, Heatmaps, Result

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "BodyTimeout",
    "BodyTooLarge",
    "Box",
    "Canceled",
    "Client",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Dense",
    "DenseRewardError",
    "EvaluatorFailed",
    "GridMismatch",
    "GroupConflict",
    "GroupIncomplete",
    "Groups",
    "Heatmaps",
    "ImageCorrupt",
    "ImageCountMismatch",
    "ImageTooLarge",
    "ImageUnsupported",
    "Internal",
    "InvalidResponse",
    "InvalidValue",
    "LocalServer",
    "MalformedBody",
    "MethodNotAllowed",
    "MissingField",
    "ModelMismatch",
    "NotFinite",
    "NotFound",
    "NotReady",
    "Overloaded",
    "Result",
    "SampleErrors",
    "ServerError",
    "TooManyGroups",
    "TooManyImages",
    "Unauthorized",
    "UnknownEvaluator",
    "UnknownField",
    "UnknownVAE",
    "UnsupportedDType",
    "UnsupportedMediaType",
    "UnsupportedMode",
    "UntrustedServer",
    "error_codes",
    "to_uint8",
]
