"""Reward functions for TRL.

    from densereward.integrations.trl import reward_function

    trainer = GRPOTrainer(..., reward_funcs=[reward_function("http://host:8080", images="image")])

TRL calls a reward function with the prompts, the completions and the columns of the
data set, and awaits those that are coroutines side by side, as this one is. For
trainers with DDPO's form, ``(images, prompts, metadata) -> (rewards, {})``, take
`densereward.integrations.flow_grpo.image_doctor_hp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Mapping, Optional, Sequence, Union

import numpy as np

from .._async_client import AsyncClient
from .._types import AsyncClientOptions, WeightsLike
from . import _settings as settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What TRL awaits: (prompts, completions, **columns) -> rewards.
RewardFunction = Callable[..., Awaitable[List[float]]]


def reward_function(
    servers: Union[str, Sequence[str], None] = None,
    *,
    images: Optional[str] = None,
    prompts: Optional[str] = None,
    metadata: Sequence[str] = (),
    evaluator: Optional[str] = None,
    mode: Optional[str] = None,
    weights: WeightsLike = None,
    name: str = "densereward",
    **options: Unpack[AsyncClientOptions],
) -> RewardFunction:
    """A reward function that scores N images and gives N floats.

    The images are the completions, or the column ``images``: PIL images, arrays,
    tensors, paths, files' bytes or ``data:`` URIs, or conversations whose last
    image counts. The prompts are TRL's, or the column ``prompts``: texts, or
    conversations whose last text of the user counts. ``metadata`` names columns
    that the evaluator may read. The mean of each score is logged where TRL takes
    metrics. ``name`` is what TRL's logs call the reward, and ``options`` go to
    `densereward.AsyncClient`, made by the first call in the process that calls.

    Raises `densereward.SamplesFailedError` where an image could not be scored: TRL
    counts None as "does not apply", which a failure is not.
    """
    addresses = settings.servers(servers)
    clients: List[AsyncClient] = []

    async def reward(
        prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> List[float]:
        if not clients:
            clients.append(AsyncClient(addresses, **options))
        given = completions if images is None else _column(columns, images)
        asked = prompts if prompt_column is None else _column(columns, prompt_column)
        result = await clients[0].score(
            [_last(message, "image") for message in given],
            [_last(message, "text") for message in asked],
            metadata=_rows(columns, metadata, len(given)),
            evaluator=evaluator,
            mode=mode,
            weights=weights,
            returns=[],
        )
        result.raise_for_errors()
        log: Optional[Callable[[str, float], None]] = columns.get("log_metric")
        if log is not None:
            for score, values in result.scores.items():
                log(f"{name}/{score}", float(np.mean(values)))
        rewards: List[float] = result.rewards.tolist()
        return rewards

    prompt_column = prompts
    reward.__name__ = name  # TRL names its logs by it
    return reward


def _column(columns: Mapping[str, Any], name: str) -> Sequence[Any]:
    if name not in columns:
        known = ", ".join(sorted(k for k, v in columns.items() if isinstance(v, list)))
        raise ValueError(f"the data set has no column {name!r}; it has: {known}")
    column: Sequence[Any] = columns[name]
    return column


def _rows(columns: Mapping[str, Any], names: Sequence[str], n: int) -> Optional[List[Dict[str, Any]]]:
    """The named columns as a map for each sample."""
    if not names:
        return None
    return [{name: _column(columns, name)[i] for name in names} for i in range(n)]


def _last(message: Any, kind: str) -> Any:
    """The last part of a kind, "text" or "image", in a conversation, which is a list
    of {"role", "content"}; of the user's messages where it is a text. Anything else
    as it is."""
    if not (isinstance(message, list) and message and isinstance(message[0], Mapping) and "role" in message[0]):
        return message
    for turn in reversed(message):
        if kind == "text" and turn["role"] != "user":
            continue
        content = turn["content"]
        if isinstance(content, str):
            if kind == "text":
                return content
            continue
        for part in reversed(content):
            if part.get("type") in (kind, f"{kind}_url"):
                value = part[part["type"]]
                return value["url"] if isinstance(value, Mapping) else value
    raise ValueError(f"a conversation without {kind}: {str(message)[:200]}")
