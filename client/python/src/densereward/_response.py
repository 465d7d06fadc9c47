"""What a server answers, decoded without trust in it."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, Generic, List, NamedTuple, Optional, Tuple, Type, TypeVar, Union

import msgpack
import numpy as np
from numpy.typing import NDArray

from ._errors import EvaluatorFailedError, InvalidResponseError, PartMissingError, SamplesFailedError, ServerError, server_error
from ._tensor import ELEMENT_BYTES, to_torch

if TYPE_CHECKING:
    import torch

#: The kind of the arrays: numpy's or torch's.
A = TypeVar("A")
T = TypeVar("T")


class Box(NamedTuple):
    """A region that the evaluator looked at: (x0,y0,x1,y1) in thousandths of the
    image's width and height."""

    box: Tuple[float, float, float, float]
    label: str  # "artifact", "misalignment" or "" where unstated
    importance: float  # 0 to 100


@dataclass
class Dense(Generic[A]):
    """Maps on the flow model's latent grid, float32: an array (N,h,w), or a list of
    N (h,w) where the images differ in size and the grid follows them."""

    grid: Union[Tuple[int, int], List[Tuple[int, int]]]  # height, width
    weight: Union[A, List[A]]  # 1-H, H the combined heatmap
    reward: Union[A, List[A]]  # the dense reward R_D


class Heatmaps(Dict[str, Union[A, List[A]]]):
    """The evaluator's own maps by name, each float32 (N,h,w), or N of (h,w) where
    their sizes differ; 1 means flawed. Names are attributes as well:
    ``heatmaps.artifact`` is ``heatmaps["artifact"]``."""

    def __getattr__(self, name: str) -> Union[A, List[A]]:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no heatmap {name!r}, there are: {', '.join(self)}") from None


@dataclass
class Result(Generic[A]):
    """The answer for N samples, in their order. Arrays are numpy's, or torch's if
    those were asked for.

    A sample that failed has its reason in ``errors``; its numbers and maps are
    NaN, and it takes no part in the statistics of its group.
    """

    rewards: A  # float64 (N), the weighted sum of the scores
    scores: Dict[str, A]  # by name, float64 (N) each, 0 where missing
    missing: List[List[str]]  # N, the scores and heatmaps that the evaluator did not give
    errors: List[Optional[ServerError]]  # N, None for a sample that was scored
    evaluator: str
    model: str  # the checkpoint's fingerprint
    timing_ms: Dict[str, float]  # by stage; of a batch in several requests, the longest
    dense: Optional[Dense[A]] = None
    advantages: Union[A, List[A], None] = None  # float64 (N), or float32 maps as dense has them
    heatmaps: Optional[Heatmaps[A]] = None
    texts: Optional[List[str]] = None
    boxes: Optional[List[List[Box]]] = None
    images: Optional[List[bytes]] = None  # PNG files
    cached: Optional[List[bool]] = None  # whether the answer was known already
    warnings: List[str] = field(default_factory=list)  # what the server finds odd about the request
    resize: str = ""  # how images came to the model's size; "" where there is one way alone

    def __len__(self) -> int:
        return len(self.errors)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """bool (N), whether each sample was scored."""
        return np.array([e is None for e in self.errors], dtype=bool)

    def raise_for_errors(self, missing: bool = False) -> "Result[A]":
        """The result itself, or `SamplesFailedError` if a sample failed or, where
        that is asked for, if the evaluator left out a score or heatmap of it."""
        failed = {i: e for i, e in enumerate(self.errors) if e is not None}
        if missing:
            for i, names in enumerate(self.missing):
                if names:
                    failed.setdefault(i, PartMissingError(f"the answer lacks {', '.join(names)}"))
        if failed:
            raise SamplesFailedError(failed, len(self))
        return self

    def torch(self) -> "Result[torch.Tensor]":
        """The same with torch tensors over the same memory, on the CPU."""
        fields: Dict[str, Any] = dict(vars(self))
        fields["rewards"] = to_torch(self.rewards)
        fields["scores"] = {name: to_torch(values) for name, values in self.scores.items()}
        fields["advantages"] = _maps_to_torch(self.advantages)
        if self.dense is not None:
            dense = self.dense
            fields["dense"] = Dense(dense.grid, _maps_to_torch(dense.weight), _maps_to_torch(dense.reward))
        if self.heatmaps is not None:
            fields["heatmaps"] = Heatmaps((name, _maps_to_torch(maps)) for name, maps in self.heatmaps.items())
        return Result(**fields)


#: A result of the kind that the caller asked for.
AnyResult = Union[Result[NDArray[Any]], "Result[torch.Tensor]"]


def _maps_to_torch(maps: Any) -> Any:
    if maps is None:
        return None
    return [to_torch(m) for m in maps] if isinstance(maps, list) else to_torch(maps)


def decode(body: bytes) -> Result[NDArray[Any]]:
    """A response of protocol version 1. Keys that this version does not know are
    passed over. What is wrong with the part of one sample is an `EvaluatorFailedError`
    of that sample, whose numbers are then NaN. Raises `InvalidResponseError` for
    anything else."""
    fields = unpack(body)
    try:
        return _result(fields)
    except InvalidResponseError:
        raise
    except _WRONG as e:
        raise InvalidResponseError(f"the answer is not a response of protocol version 1: {_reason(e)}") from e


#: What reading a value of another shape than the protocol's raises.
_WRONG = (InvalidResponseError, KeyError, TypeError, ValueError, OverflowError)


def _reason(e: Exception) -> str:
    if isinstance(e, InvalidResponseError):
        return str(e)
    return f"it lacks {e}" if isinstance(e, KeyError) else repr(e)


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
    """The map that msgpack-numpy writes, of an array with its own memory or of a
    scalar; other maps as they are. Of what is none it gives the error, which is the
    answer's or its sample's alone; a kind other than a plain numeric array is one:
    msgpack-numpy itself would unpickle it."""
    if b"nd" not in fields:
        return fields
    array, name, data = fields[b"nd"], fields.get(b"type"), fields.get(b"data")
    shape = fields.get(b"shape") if array else []
    size = ELEMENT_BYTES.get(name) if isinstance(name, str) else None
    plain = isinstance(array, bool) and not fields.get(b"kind")
    if not plain or size is None or name == "bfloat16" or not isinstance(shape, list) or not isinstance(data, bytes):
        return InvalidResponseError(f"a tensor of type {name!r} and shape {shape!r} is not one of the protocol")
    count = 1
    for d in shape:
        if not isinstance(d, int) or d < 0:
            return InvalidResponseError(f"a tensor of shape {shape!r} is not possible")
        count *= d
    if count * size != len(data):
        return InvalidResponseError(f"a tensor of {name} {shape!r} takes {count * size} bytes, its data has {len(data)}")
    values = np.frombuffer(data, dtype=np.dtype(name)).reshape(shape)
    return values.copy() if array else values.item()


def _result(fields: Dict[str, Any]) -> Result[NDArray[Any]]:
    rewards = _numbers(fields["rewards"], None, "rewards")
    n = len(rewards)
    read = _Samples(fields, n)
    dense, heatmaps, advantages = fields.get("dense"), fields.get("heatmaps"), fields.get("advantages")
    result = Result(
        rewards=rewards,
        scores={_text(name, "scores"): _numbers(values, n, f"scores.{name}") for name, values in _fields(fields["scores"], "scores").items()},
        missing=read.each("missing", lambda names: [_text(name, "missing") for name in _item(names, "missing", list)], required=True) or [],
        errors=read.each("errors", _sample_error, required=True) or [],
        evaluator=_text(fields["evaluator"], "evaluator"),
        model=_text(fields["model"], "model"),
        timing_ms={_text(stage, "timing_ms"): float(ms) for stage, ms in _fields(fields["timing_ms"], "timing_ms").items()},
        dense=None if dense is None else _dense(dense, read),
        advantages=None if advantages is None else _advantages(advantages, read),
        heatmaps=None
        if heatmaps is None
        else Heatmaps((_text(name, "heatmaps"), read.maps(m, f"heatmaps.{name}")) for name, m in _fields(heatmaps, "heatmaps").items()),
        texts=read.each("texts", lambda text: _text(text, "texts"), otherwise=""),
        boxes=read.each("boxes", lambda boxes: [_box(b) for b in _item(boxes, "boxes", list)]),
        images=read.each("images", lambda file: _item(file, "images", bytes), otherwise=b""),
        cached=read.each("cached", lambda known: _item(known, "cached", bool), otherwise=False),
        warnings=[_text(w, "warnings") for w in fields.get("warnings") or []],
        resize=_text(fields.get("resize") or "", "resize"),
    )
    _fail(result, read.wrong)
    return result


class _Samples:
    """The parts of an answer that hold an item for each of n samples. What is wrong
    with an item is kept as its sample's, in ``wrong``."""

    def __init__(self, fields: Dict[str, Any], n: int) -> None:
        self.fields, self.n = fields, n
        self.wrong: Dict[int, str] = {}

    def items(self, value: List[Any], name: str, read: Callable[[Any], T], otherwise: T) -> List[T]:
        if len(value) != self.n:
            raise InvalidResponseError(f"{name}: want an array of {self.n}")
        read_items = []
        for i, item in enumerate(value):
            try:
                read_items.append(read(item))
            except _WRONG as e:
                reason = _reason(e)
                self.wrong.setdefault(i, reason if reason.startswith(name) else f"{name}: {reason}")
                read_items.append(otherwise)
        return read_items

    def each(self, name: str, read: Callable[[Any], T], otherwise: Any = None, required: bool = False) -> Optional[List[T]]:
        value = self.fields.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, list):
            raise InvalidResponseError(f"{name}: want an array of {self.n}")
        return self.items(value, name, read, otherwise)

    def maps(self, value: Any, name: str) -> Any:
        """One tensor (n,h,w), or n of (h,w)."""
        if isinstance(value, list):
            return self.items(value, name, lambda m: _floats(m, 2, f"{name}: want float32 (h,w)"), np.empty((0, 0), np.float32))
        maps = _floats(value, 3, f"{name}: want a float32 tensor ({self.n},h,w)")
        if len(maps) != self.n:
            raise InvalidResponseError(f"{name}: want a float32 tensor ({self.n},h,w)")
        return maps


def _fail(result: Result[NDArray[Any]], wrong: Dict[int, str]) -> None:
    """Makes the samples with something wrong failed ones, and those that have no error
    and yet a number that is not finite."""
    for name, values in [("rewards", result.rewards), *((f"scores.{name}", values) for name, values in result.scores.items())]:
        for i in np.flatnonzero(~np.isfinite(values)).tolist():
            wrong.setdefault(i, f"{name} is {values[i]}")
    for i, reason in wrong.items():
        if result.errors[i] is not None:
            continue
        result.errors[i] = EvaluatorFailedError(f"the server's answer is wrong for this sample: {reason}")
        dense = [] if result.dense is None else [result.dense.weight, result.dense.reward]
        for numbers in [result.rewards, *result.scores.values(), *dense, *(result.heatmaps or {}).values(), result.advantages]:
            if numbers is not None:
                numbers[i] = numbers[i] * np.nan
        result.missing[i] = []
        if result.texts is not None:
            result.texts[i] = ""
        if result.boxes is not None:
            result.boxes[i] = []


def _advantages(value: Any, read: _Samples) -> Any:
    scalar = isinstance(value, np.ndarray) and value.ndim == 1
    return _numbers(value, read.n, "advantages") if scalar else read.maps(value, "advantages")


def _fields(value: Any, name: str) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidResponseError(f"{name}: want a map, got {type(value).__name__}")
    return value


def _dense(value: Any, read: _Samples) -> Dense[NDArray[Any]]:
    fields = _fields(value, "dense")
    weight, reward = read.maps(fields["weight"], "dense.weight"), read.maps(fields["reward"], "dense.reward")
    if isinstance(weight, list) != isinstance(reward, list):
        raise InvalidResponseError("dense: weight and reward have maps of different sizes")
    shapes = [m.shape for m in weight]
    for i, (shape, other) in enumerate(zip(shapes, (m.shape for m in reward))):
        if shape != other:
            read.wrong.setdefault(i, f"dense: a weight of {shape} and a reward of {other}")
    if isinstance(weight, list):
        return Dense(shapes, weight, reward)
    height, width = (operator.index(side) for side in fields["grid"])
    if weight.shape[1:] != (height, width):
        raise InvalidResponseError(f"dense: maps of {weight.shape[1:]} are not on the grid {fields['grid']!r}")
    return Dense((height, width), weight, reward)


def _box(value: Any) -> Box:
    fields = _fields(value, "boxes")
    x0, y0, x1, y1 = (float(c) for c in fields["box"])
    box = Box((x0, y0, x1, y1), _text(fields["label"], "boxes"), float(fields["importance"]))
    if not all(map(math.isfinite, (*box.box, box.importance))):
        raise InvalidResponseError(f"boxes: {box} is not finite")
    return box


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidResponseError(f"{name}: want texts, got {type(value).__name__}")
    return value


def _numbers(value: Any, n: Optional[int], name: str) -> NDArray[Any]:
    numbers = _array_of(value)
    if numbers is None or numbers.ndim != 1 or numbers.dtype.kind != "f" or n not in (None, len(numbers)):
        raise InvalidResponseError(f"{name}: want a tensor of {'N' if n is None else n} floats")
    return numbers


def _floats(value: Any, rank: int, want: str) -> NDArray[Any]:
    numbers = _array_of(value)
    if numbers is None or numbers.ndim != rank or numbers.dtype != np.float32:
        raise InvalidResponseError(want)
    return numbers


def _array_of(value: Any) -> Optional[NDArray[Any]]:
    if isinstance(value, InvalidResponseError):
        raise value
    return value if isinstance(value, np.ndarray) else None


def _item(value: Any, name: str, kind: Type[T]) -> T:
    if not isinstance(value, kind):
        raise InvalidResponseError(f"{name}: want {kind.__name__} items, got {type(value).__name__}")
    return value


def _sample_error(value: Any) -> Optional[ServerError]:
    if value is None:
        return None
    fields = _fields(value, "errors")
    return server_error(_text(fields["code"], "errors"), _text(fields["message"], "errors"))
