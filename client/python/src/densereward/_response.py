"""What a server answers, decoded without trust in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from ._errors import InvalidResponseError, SamplesFailedError, ServerError, server_error
from ._tensor import ELEMENT_BYTES, to_torch

SCORES = ("semantic_alignment", "aesthetics", "plausibility", "overall")


class Box(NamedTuple):
    """A region that the evaluator looked at: (x0,y0,x1,y1) in thousandths of the
    image's width and height."""

    box: Tuple[float, float, float, float]
    label: str  # "artifact", "misalignment" or "" where unstated
    importance: float  # 0 to 100


@dataclass
class Dense:
    """Maps on the flow model's latent grid, float32 (N,h,w)."""

    grid: Tuple[int, int]  # height, width
    weight: Any  # 1-H, H the combined heatmap
    reward: Any  # the dense reward R_D


@dataclass
class Heatmaps:
    """The evaluator's own maps, float32 (N,h,w); 1 means flawed."""

    misalignment: Any
    artifact: Any


@dataclass
class Result:
    """The answer for N samples, in their order. Arrays are numpy's, or torch's if
    those were asked for.

    A sample that failed has its reason in ``errors``; its numbers and maps are
    NaN, and it takes no part in the statistics of its group.
    """

    rewards: Any  # float64 (N), the weighted sum of the scores
    scores: Dict[str, Any]  # float64 (N) each, in [0,1], 0 where missing
    missing: List[List[str]]  # N, the scores that the evaluator did not give
    errors: List[Optional[ServerError]]  # N, None for a sample that was scored
    evaluator: str
    model: str  # the checkpoint's fingerprint
    timing_ms: Dict[str, float]  # by stage; of a batch in several requests, the longest
    dense: Optional[Dense] = None
    advantages: Any = None  # float64 (N), or float32 (N,h,w)
    heatmaps: Optional[Heatmaps] = None
    texts: Optional[List[str]] = None
    boxes: Optional[List[List[Box]]] = None
    images: Optional[List[bytes]] = None  # PNG files
    cached: Optional[List[bool]] = None  # whether the answer was known already

    def __len__(self) -> int:
        return len(self.errors)

    @property
    def ok(self) -> NDArray[Any]:
        """bool (N), whether each sample was scored."""
        return np.array([e is None for e in self.errors], dtype=bool)

    def raise_for_errors(self) -> "Result":
        """The result itself, or `SamplesFailedError` if a sample failed."""
        failed = {i: e for i, e in enumerate(self.errors) if e is not None}
        if failed:
            raise SamplesFailedError(failed, len(self))
        return self

    def torch(self) -> "Result":
        """The same with torch tensors over the same memory, on the CPU."""
        converted = Result(**{**vars(self), "rewards": to_torch(self.rewards)})
        converted.scores = {name: to_torch(values) for name, values in self.scores.items()}
        if self.advantages is not None:
            converted.advantages = to_torch(self.advantages)
        if self.dense is not None:
            converted.dense = Dense(self.dense.grid, to_torch(self.dense.weight), to_torch(self.dense.reward))
        if self.heatmaps is not None:
            converted.heatmaps = Heatmaps(to_torch(self.heatmaps.misalignment), to_torch(self.heatmaps.artifact))
        return converted


def decode(body: bytes) -> Result:
    """A response of protocol version 1. Keys that this version does not know are
    passed over. Raises `InvalidResponseError` for anything else."""
    fields = unpack(body)
    try:
        return _result(fields)
    except InvalidResponseError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise InvalidResponseError(f"the answer is not a response of protocol version 1: {e!r}") from e


def unpack(body: bytes) -> Dict[str, Any]:
    """A msgpack map, its tensors as numpy arrays. Nothing in it is executed."""
    try:
        value = msgpack.unpackb(body, raw=False, object_hook=_array, strict_map_key=True)
    except InvalidResponseError:
        raise
    except Exception as e:  # msgpack raises a different class for each way to be broken
        raise InvalidResponseError(f"the answer is not msgpack: {e!r}") from e
    if not isinstance(value, dict):
        raise InvalidResponseError(f"the answer is {type(value).__name__}, not a map")
    return value


def _array(fields: Dict[Any, Any]) -> Any:
    """The map that msgpack-numpy writes as an array of its own memory; other maps
    as they are. A kind other than a plain numeric array is refused: msgpack-numpy
    itself would unpickle it."""
    if b"nd" not in fields:
        return fields
    name, shape, data = fields.get(b"type"), fields.get(b"shape"), fields.get(b"data")
    size = ELEMENT_BYTES.get(name) if isinstance(name, str) else None
    plain = fields[b"nd"] is True and not fields.get(b"kind")
    if not plain or size is None or name == "bfloat16" or not isinstance(shape, list) or not isinstance(data, bytes):
        raise InvalidResponseError(f"a tensor of type {name!r} and shape {shape!r} is not one of the protocol")
    count = 1
    for d in shape:
        if not isinstance(d, int) or d < 0:
            raise InvalidResponseError(f"a tensor of shape {shape!r} is not possible")
        count *= d
    if count * size != len(data):
        raise InvalidResponseError(f"a tensor of {name} {shape!r} takes {count * size} bytes, its data has {len(data)}")
    return np.frombuffer(data, dtype=np.dtype(name)).reshape(shape).copy()


def _result(fields: Dict[str, Any]) -> Result:
    rewards = _numbers(fields["rewards"], None, "rewards")
    n = len(rewards)
    result = Result(
        rewards=rewards,
        scores={name: _numbers(fields["scores"][name], n, f"scores.{name}") for name in SCORES},
        missing=[list(names) for names in _listed(fields, "missing", n) or []],
        errors=[_sample_error(e) for e in _listed(fields, "errors", n) or []],
        evaluator=fields["evaluator"],
        model=fields["model"],
        timing_ms=dict(fields["timing_ms"]),
        texts=_listed(fields, "texts", n),
        images=_listed(fields, "images", n),
        cached=_listed(fields, "cached", n),
    )
    if len(result.missing) != n or len(result.errors) != n:
        raise InvalidResponseError("the answer lacks missing or errors")
    boxes = _listed(fields, "boxes", n)
    if boxes is not None:
        result.boxes = [[_box(b) for b in sample] for sample in boxes]
    dense, heatmaps = fields.get("dense"), fields.get("heatmaps")
    if dense is not None:
        height, width = dense["grid"]
        result.dense = Dense((height, width), _map(dense["weight"], n, "dense.weight"), _map(dense["reward"], n, "dense.reward"))
    if heatmaps is not None:
        result.heatmaps = Heatmaps(
            _map(heatmaps["misalignment"], n, "heatmaps.misalignment"), _map(heatmaps["artifact"], n, "heatmaps.artifact")
        )
    advantages = fields.get("advantages")
    if advantages is not None:
        scalar = isinstance(advantages, np.ndarray) and advantages.ndim == 1
        result.advantages = _numbers(advantages, n, "advantages") if scalar else _map(advantages, n, "advantages")
    return result


def _box(fields: Dict[str, Any]) -> Box:
    x0, y0, x1, y1 = fields["box"]
    return Box((x0, y0, x1, y1), fields["label"], fields["importance"])


def _numbers(value: Any, n: Optional[int], field: str) -> NDArray[Any]:
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind != "f" or n not in (None, len(value)):
        raise InvalidResponseError(f"{field}: want a tensor of {'N' if n is None else n} floats")
    return value


def _map(value: Any, n: int, field: str) -> NDArray[Any]:
    if not isinstance(value, np.ndarray) or value.ndim != 3 or value.dtype != np.float32 or len(value) != n:
        raise InvalidResponseError(f"{field}: want a float32 tensor ({n},h,w)")
    return value


def _listed(fields: Dict[str, Any], field: str, n: int) -> Optional[List[Any]]:
    value = fields.get(field)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != n:
        raise InvalidResponseError(f"{field}: want an array of {n}")
    return value


def _sample_error(value: Optional[Dict[str, str]]) -> Optional[ServerError]:
    return None if value is None else server_error(value["code"], value["message"])
