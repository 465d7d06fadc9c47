"""Rewards for reinforcement fine-tuning of the evaluator itself, in TRL and VLM-R1.

    from densereward.integrations.rft import CompletionReward

    reward = CompletionReward("http://host:8080")
    trainer = GRPOTrainer(..., reward_funcs=[reward])      # the sum that the published run trains on

VLM-R1 and TRL call a reward function with the completions and, by their names, the
columns of the data set. The names here are those of ImageDoctor's training code:
``solution``, a text with the true scores in its ``<answer>``, ``misalignment_np`` and
``artifact_np``, the true heatmaps, and ``misalignment_pred`` and ``artifact_pred``,
what the trainer's model drew, where it hands them over. A heatmap is anything that
numpy takes; dimensions of one are dropped, and several maps in one entry that stand
for a group of completions are spread over them.

The server computes (``POST /v1/rft``); it needs no evaluator for that.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

import msgpack
import numpy as np
from numpy.typing import NDArray

from .._call import Call
from .._client import Client
from .._errors import InvalidResponseError
from .._message import Message
from .._sender import MEDIA_TYPE
from .._servers import Server
from .._tensor import host_array, pack
from .._transport import Answer
from .._types import ClientOptions
from . import _settings as settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

_PATH = "/v1/rft"


class CompletionRewards(NamedTuple):
    """What N completions earn."""

    rewards: Dict[str, NDArray[np.float64]]  #: the twelve, by the published run's names, each (N)
    format: NDArray[np.float64]  #: (N), not in the sums
    sums: NDArray[np.float64]  #: (N)
    advantages: NDArray[np.float64]  #: (N), within the groups


def completion_rewards(
    client: Client,
    completions: Sequence[str],
    solutions: Sequence[str],
    misalignment: Any,
    artifact: Any,
    predicted_misalignment: Any = None,
    predicted_artifact: Any = None,
    groups: Optional[Sequence[str]] = None,
    timeout: Optional[float] = None,
) -> CompletionRewards:
    """Asks a server for the rewards of N completions. Heatmaps are (N,h,w), in [0,1];
    the true ones may be (1,h,w) for all. ``groups`` names the group of each, by
    default all are one. Raises as `densereward.Client.score` does."""
    body: Dict[str, Any] = {
        "completions": list(completions),
        "solutions": list(solutions),
        "truth": {"misalignment": _tensor(misalignment), "artifact": _tensor(artifact)},
        "predicted": {
            name: _tensor(maps)
            for name, maps in (("misalignment", predicted_misalignment), ("artifact", predicted_artifact))
            if maps is not None
        },
    }
    if groups is not None:
        body["groups"] = list(groups)
    client._check_open()
    message, headers = Message(body), {"Content-Type": MEDIA_TYPE, "X-Request-ID": uuid.uuid4().hex}
    call = client._call(timeout)

    def post(server: Server, part: Call) -> Answer:
        return server.transport.post(_PATH, message, headers, part)

    answer = client._sender._exchange(call, post, _PATH)
    try:
        found = msgpack.unpackb(answer.body, strict_map_key=False)
        rewards = {name: _numbers(values) for name, values in found["rewards"].items()}
        return CompletionRewards(rewards, *(_numbers(found[name]) for name in ("format", "sums", "advantages")))
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException) as e:
        raise InvalidResponseError(f"{answer.address}{_PATH}: {e!r}") from e


class CompletionReward:
    """A reward function: ``(completions, **columns)`` to a list of floats.

    Its value is the sum that the published run trains on, or one reward, by its name
    there or ``"format"``, where ``only`` names it; functions of one server share
    nothing, so that twelve of them ask twelve times. ``columns`` renames columns:
    ``{"solution": "answer_text"}``. ``options`` go to `densereward.Client`.
    """

    def __init__(
        self,
        servers: Union[str, Sequence[str], None] = None,
        *,
        only: Optional[str] = None,
        columns: Optional[Mapping[str, str]] = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self.client = Client(settings.servers(servers), **options)
        self.only = only
        self.columns = dict(columns or {})
        self.__name__ = only or "image_doctor_rft"  # trainers name their logs by it

    def __call__(self, prompts: Any = None, completions: Sequence[Any] = (), **columns: Any) -> List[float]:
        texts = [_content(c) for c in completions]

        def drawn(name: str) -> Any:
            maps = self._column(columns, name, None)
            return _maps(maps, len(texts)) if _there(maps) else None

        found = completion_rewards(
            self.client,
            texts,
            self._column(columns, "solution"),
            misalignment=_maps(self._column(columns, "misalignment_np"), len(texts)),
            artifact=_maps(self._column(columns, "artifact_np"), len(texts)),
            predicted_misalignment=drawn("misalignment_pred"),
            predicted_artifact=drawn("artifact_pred"),
        )
        values = found.sums
        if self.only == "format":
            values = found.format
        elif self.only is not None:
            values = found.rewards[self.only]
        listed: List[float] = values.tolist()
        return listed

    def _column(self, columns: Mapping[str, Any], name: str, *default: Any) -> Any:
        given = self.columns.get(name, name)
        if given in columns:
            return columns[given]
        if default:
            return default[0]
        raise ValueError(f"the data set has no column {given!r}; it has: {', '.join(sorted(columns))}")


def _content(completion: Any) -> str:
    """The text of a completion: itself, or of a conversation's first message."""
    return completion if isinstance(completion, str) else str(completion[0]["content"])


def _there(maps: Any) -> bool:
    """Whether a trainer handed over maps: VLM-R1 gives a list of empty lists where its
    model drew none."""
    return maps is not None and len(maps) > 0 and all(m is not None and len(m) > 0 for m in maps)


def _maps(entries: Any, n: int) -> NDArray[np.float32]:
    """The maps of n completions, (n,h,w) or (1,h,w). Entries may have leading
    dimensions of one, and hold several maps."""
    stacked: List[NDArray[np.float32]] = []
    for entry in entries:
        array = np.asarray(_host(entry), np.float32)
        array = array.reshape(-1, *array.shape[-2:])
        stacked.append(array)
    maps = np.concatenate(stacked)
    if len(maps) not in (1, n):
        raise ValueError(f"{len(maps)} heatmaps for {n} completions")
    return maps


def _host(entry: Any) -> Any:
    """Torch tensors as arrays, also within lists."""
    if isinstance(entry, (list, tuple)):
        return [_host(e) for e in entry]
    return entry.detach().cpu().float().numpy() if hasattr(entry, "detach") else entry


def _tensor(maps: Any) -> Any:
    array, _ = host_array(np.ascontiguousarray(_host(maps), np.float32))
    return pack(array, "<f4")


def _numbers(tensor: Any) -> NDArray[np.float64]:
    if tensor[b"type"] not in ("<f8", b"<f8"):
        raise ValueError(f"a tensor of {tensor[b'type']!r}")
    return np.frombuffer(tensor[b"data"], "<f8")
