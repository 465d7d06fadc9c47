"""Scores in Ray Data's pipelines.

    import ray
    from densereward.ray import Scorer

    table = ray.data.read_parquet("s3://bucket/data").map_batches(
        Scorer,
        fn_constructor_kwargs={"serve": ["--model", "/models/ImageDoctor", "--device", "cuda"]},
        batch_size=32, compute=ray.data.ActorPoolStrategy(size=8), num_gpus=1,
    )
    table.write_parquet("s3://bucket/labelled")

Ray decides where the workers run and begins again what a lost one had in hand; scoring
has no side effects. This module does not import Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, TypedDict, Union

import numpy as np
from numpy.typing import NDArray

from ._client import Client
from ._errors import ServerError
from ._local_server import LocalServer
from ._response import Result
from ._types import ClientOptions, Grid, Missing, NumpyArray, WeightsLike

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: The labels of an image that cannot be scored: numbers are NaN, maps too.
_NO_IMAGE = "missing_field"


class ScorerOptions(TypedDict, total=False):
    """What `Scorer` passes on to `densereward.Client.score`."""

    mode: Optional[str]
    grid: Optional[Grid]
    weights: WeightsLike
    evaluator: Optional[str]
    missing: Optional[Missing]
    clamp: bool


class Scorer:
    """Adds to batches, which are maps of arrays by column, what a server says of them:

    ``reward``, a column for each score, ``missing``, ``error_code`` and
    ``error_message``, and what ``returns`` names: ``dense`` the weights 1-H (h,w),
    ``text``, ``boxes``, and each heatmap by its name. Maps of one size are one array,
    others one a row, None where the row has no image.

    Its worker asks the ``servers``, or starts a server of its own with the flags
    ``serve``, which ends with the worker; Ray shows it the GPUs that the worker was
    given. Images are in the column ``image``: arrays, encoded files as bytes, or
    structs with bytes, as datasets and `ray.data.read_images` have them; prompts in
    ``prompt``. ``prefix`` goes before the names of new columns. ``options`` are
    `densereward.Client.score`'s: those of `ScorerOptions`; ``client`` are the client's
    own, and ``program`` is the server's.

    An image that cannot be scored has an ``error_code``, and its numbers are NaN.
    Raises what `Client.score` raises, which ends the task: Ray tries it again, or
    ends the pipeline, as it was told.
    """

    def __init__(
        self,
        servers: Union[str, Sequence[str], None] = None,
        *,
        serve: Optional[Sequence[str]] = None,
        program: Union[str, Sequence[str], None] = None,
        image: str = "image",
        prompt: str = "prompt",
        prefix: str = "",
        returns: Sequence[str] = (),
        client: Optional[ClientOptions] = None,
        **options: Unpack[ScorerOptions],
    ) -> None:
        if (servers is None) == (serve is None):
            raise ValueError("give servers, or serve, the flags of one for each worker")
        if serve is not None:
            self._server = LocalServer(*serve, program=program)  # until the worker ends
            servers = self._server.url
        assert servers is not None
        self._client = Client(servers, **(client or {}))
        self._image, self._prompt, self._prefix = image, prompt, prefix
        self._returns: List[Any] = list(returns)
        self._options = options

    def __call__(self, batch: Mapping[str, NumpyArray]) -> Dict[str, NumpyArray]:
        for name in (self._image, self._prompt):
            if name not in batch:
                raise ValueError(f"the batch has no column {name!r}; it has: {', '.join(sorted(batch))}")
        images = [_file(value) for value in batch[self._image]]
        prompts = ["" if p is None else str(p) for p in batch[self._prompt]]
        there = [i for i, one in enumerate(images) if one is not None]
        result: Optional[Result[NumpyArray]] = None
        if there:
            result = self._client.score(
                [images[i] for i in there], [prompts[i] for i in there], returns=self._returns, **self._options
            )
        labels = self._labels(result, there, len(images))
        taken = [name for name in labels if self._prefix + name in batch]
        if taken:
            raise ValueError(f"the batch already has a column {self._prefix + taken[0]!r}; give the new ones a prefix")
        return {**batch, **{self._prefix + name: values for name, values in labels.items()}}

    def _labels(self, result: Optional[Result[NumpyArray]], there: Sequence[int], n: int) -> Dict[str, Any]:
        """The new columns of n rows, of which those at the places ``there`` were sent."""
        errors: List[Union[ServerError, str, None]] = ["the row has no image"] * n
        if result is None:
            return {"reward": np.full(n, np.nan), **_failures(errors)}
        for k, i in enumerate(there):
            errors[i] = result.errors[k]
        columns: Dict[str, Any] = {"reward": _spread(result.rewards, there, n)}
        for name, values in result.scores.items():
            columns[name] = _spread(values, there, n)
        columns["missing"] = _listed(result.missing, there, n, [])
        if result.texts is not None:
            columns["text"] = _listed(result.texts, there, n, "")
        if result.boxes is not None:
            found = [[{"box": list(b.box), "label": b.label, "importance": b.importance} for b in row] for row in result.boxes]
            columns["boxes"] = _listed(found, there, n, [])
        if result.dense is not None:
            columns["dense"] = _maps(result.dense.weight, there, n)
        if result.heatmaps is not None:
            for name, maps in result.heatmaps.items():
                columns[name] = _maps(maps, there, n)
        return {**columns, **_failures(errors)}


def _file(value: Any) -> Any:
    """An image as the client takes it, None where there is none."""
    if isinstance(value, Mapping):
        value = value.get("bytes")
    return value


def _spread(values: NDArray[Any], there: Sequence[int], n: int) -> NDArray[Any]:
    """The values of the rows that were sent, NaN in the others."""
    out = np.full((n, *values.shape[1:]), np.nan, values.dtype)
    out[list(there)] = values
    return out


def _maps(values: Union[NumpyArray, List[NumpyArray]], there: Sequence[int], n: int) -> NumpyArray:
    """One array where all maps have one size; else each by itself, None in the rows
    that were not sent."""
    return _listed(values, there, n, None) if isinstance(values, list) else _spread(values, there, n)


def _listed(values: Sequence[Any], there: Sequence[int], n: int, empty: Any) -> NDArray[np.object_]:
    out = np.empty(n, object)
    for i in range(n):
        out[i] = empty
    for k, i in enumerate(there):
        out[i] = values[k]
    return out


def _failures(errors: Sequence[Union[ServerError, str, None]]) -> Dict[str, Any]:
    """Why rows were not scored, empty where they were."""
    codes, messages = [], []
    for e in errors:
        codes.append("" if e is None else _NO_IMAGE if isinstance(e, str) else e.code)
        messages.append("" if e is None else e if isinstance(e, str) else e.message)
    return {"error_code": np.array(codes, object), "error_message": np.array(messages, object)}
