"""What callers hand in and servers describe, as types."""

from __future__ import annotations

import os
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    List,
    Literal,
    Mapping,
    Optional,
    Sequence,
    SupportsIndex,
    Tuple,
    TypedDict,
    Union,
)

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import PIL.Image
    import torch

    from ._request import Groups

#: numpy's arrays; what has one says of which type its elements are.
NumpyArray = NDArray[Any]

#: An array of any library that this package knows.
Array = Union[NumpyArray, "torch.Tensor"]

#: A number, of Python, numpy or torch.
Number = Union[float, np.number, "torch.Tensor"]

#: One image: an array (h,w,3) or (3,h,w), a PIL image, the bytes of a file, a path,
#: an open binary file, a ``data:`` URI, or base64 text.
ImageLike = Union[Array, "PIL.Image.Image", bytes, bytearray, memoryview, str, "os.PathLike[str]", BinaryIO]

#: The images of a batch: one array (N,h,w,3) or (N,3,h,w), or one by one.
Images = Union[Array, Sequence[ImageLike]]

#: The latents of a batch: (N,C,h,w), packed (N,L,D), or N tensors without N.
Latents = Union[Array, Sequence[Array]]

#: A preset by name, (height, width) in cells, or the side of a square.
Grid = Union[str, SupportsIndex, Sequence[SupportsIndex], Mapping[str, object]]

#: What can come back beside the scores.
Return = Literal["dense", "heatmaps", "text", "boxes", "images"]

#: What becomes of scores and maps that an answer lacks.
Missing = Literal["zero", "error"]

#: The library of the arrays of a result.
Output = Literal["numpy", "torch"]


class BoxPenalty(TypedDict, total=False):
    """What a covered cell loses with method "boxflow", in standard deviations of
    the group's rewards; ``min`` is the least."""

    artifact: Number
    misalignment: Number
    min: Number


class Advantage(TypedDict, total=False):
    """An advantage method with its settings; ``method`` is required."""

    method: Literal["none", "flowgrpo", "denseflow", "denseflow_paper", "boxflow", "gdpo", "densegrpo"]
    global_std: bool
    floor: Number
    smoothing: Number
    penalty: BoxPenalty
    steps: int  # of each sample, for "densegrpo"


class Weights(TypedDict, total=False):
    """The weights of scores in the reward and of heatmaps in the dense weight."""

    scores: Mapping[str, Number]
    heatmaps: Mapping[str, Number]


#: How advantages are made: the method, or the method with its settings.
AdvantageLike = Union[str, Advantage, Mapping[str, object], None]

#: Weights, some of which may be left out.
WeightsLike = Union[Weights, Mapping[str, object], None]


class ScoreDescription(TypedDict):
    """A score of an evaluator; a bound that is infinite is None."""

    name: str
    min: Optional[float]
    max: Optional[float]
    weight: float
    doc: str


class MapDescription(TypedDict):
    """A heatmap of an evaluator; 0 by 0 where its size varies."""

    name: str
    height: int
    width: int
    weight: float
    doc: str


class Evaluator(TypedDict, total=False):
    """An evaluator that requests may name, as the protocol describes it."""

    name: str
    kind: str
    fingerprint: str
    modes: List[str]
    scores: List[ScoreDescription]
    maps: List[MapDescription]
    text: bool
    boxes: bool
    generates: bool
    prompt_tokens: int
    resize: str
    demonstration: bool
    note: str


class Decoder(TypedDict, total=False):
    """A latent decoder that requests may name."""

    name: str
    fingerprint: str
    channels: int
    packed: bool
    pixel_scale: int
    grid_scale: int


class Models(TypedDict):
    """What requests to a server may name, the default evaluator first."""

    protocol: int
    evaluators: List[Evaluator]
    decoders: List[Decoder]


#: What the evaluator is told about one sample.
Metadata = Optional[Mapping[str, object]]


class BatchOptions(TypedDict, total=False):
    """`ScoreOptions` without groups, for what groups by itself."""

    latents: Optional[Latents]
    vae: Optional[str]
    mode: Optional[str]
    grid: Optional[Grid]
    advantage: AdvantageLike
    weights: WeightsLike
    returns: Union[Return, Sequence[Return], None]
    evaluator: Optional[str]
    metadata: Optional[Sequence[Metadata]]
    missing: Optional[Missing]
    clamp: bool


class ScoreOptions(BatchOptions, total=False):
    """What `Client.score` takes by name, beside ``output`` and ``timeout``."""

    groups: Union[Sequence[Union[str, int]], Groups, None]


#: A certificate and its key, as PEM files.
ClientCertificate = Tuple[Union[str, "os.PathLike[str]"], Union[str, "os.PathLike[str]"]]


class ClientOptions(TypedDict, total=False):
    """What `Client` takes beside its servers."""

    token: Optional[str]
    timeout: Optional[float]
    tries: Optional[int]
    batch_size: int
    request_bytes: int
    concurrency: int
    backoff: Tuple[float, float]
    ca_certs: Union[str, "os.PathLike[str]", None]
    client_cert: Optional[ClientCertificate]
    max_response: int
    split_groups: bool


class AsyncClientOptions(ClientOptions, total=False):
    """What `AsyncClient` takes beside its servers."""

    in_flight: int
