"""A reward function for verl-omni.

verl-omni awaits ``compute_score`` for one sample at a time, many at once; the server
makes batches of them. In the trainer's configuration:

    reward.custom_reward_function.path=pkg://densereward.integrations.verl_omni
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.server_url=http://host:8080

or, as one of several rewards, with ``required: true``: without it verl-omni counts
a reward that failed as 0.

    reward:
      reward_functions:
        imagedoctor:
          path: pkg://densereward.integrations.verl_omni
          name: compute_score
          weight: 1.0
          required: true
          server_url: http://host:8080

The address may also come from the environment variable DENSEREWARD_URL.
"""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .._async_client import AsyncClient
from .._errors import InvalidValueError
from .._types import Grid, WeightsLike
from . import _settings as settings

_clients: Dict[Tuple[str, Optional[str]], AsyncClient] = {}
_lock = threading.Lock()


async def compute_score(
    solution_image: Any,
    ground_truth: Any,
    data_source: Any = None,
    extra_info: Optional[Mapping[str, Any]] = None,
    server_url: Union[str, Sequence[str], None] = None,
    prompt_key: Optional[str] = None,
    metadata_keys: Sequence[str] = (),
    ground_truth_key: Optional[str] = None,
    vae: Optional[str] = None,
    evaluator: Optional[str] = None,
    mode: Optional[str] = None,
    weights: WeightsLike = None,
    grid: Optional[Grid] = None,
    maps: bool = False,
    token: Optional[str] = None,
    timeout: float = 300.0,
    **ignored: Any,
) -> Dict[str, Any]:
    """The reward of one image, ``{"score": float, NAME: float, ...}`` with each score
    of the evaluator by its name.

    ``solution_image`` is the trainer's tensor, uint8 (3,h,w) or (1,3,h,w), or the
    latents (C,h,w) that ``vae`` names a decoder of. The prompt is ``ground_truth``,
    or ``extra_info[prompt_key]`` where a key is given. ``metadata_keys`` are those of
    ``extra_info`` that the evaluator may read, and ``ground_truth_key`` is the key
    under which it finds the ground truth. ``maps`` adds "dense_weight" and
    "dense_reward", float32 (h,w) on ``grid``.

    Whatever fails is raised: a `densereward.ServerError` of the sample or the
    request, or one of the client's errors. No failure becomes a number.
    """
    info = extra_info or {}
    prompt = ground_truth if prompt_key is None else info[prompt_key]
    metadata = {key: info[key] for key in metadata_keys if key in info}
    if ground_truth_key is not None:
        metadata[ground_truth_key] = ground_truth
    samples = {"images": _one(solution_image, 4)} if vae is None else {"latents": _one(solution_image, 4)}
    result = await _client(server_url, token).score(
        **samples,
        prompts=[prompt],
        vae=vae,
        evaluator=evaluator,
        mode=mode,
        weights=weights,
        grid=grid,
        metadata=[metadata] if metadata else None,
        returns=["dense"] if maps else [],
        timeout=timeout,
    )
    if result.errors[0] is not None:
        raise result.errors[0]
    answer: Dict[str, Any] = {"score": float(result.rewards[0])}
    answer.update((name, float(values[0])) for name, values in result.scores.items())
    if result.dense is not None:
        answer.update(dense_weight=result.dense.weight[0], dense_reward=result.dense.reward[0])
    return answer


def _one(sample: Any, rank: int) -> Any:
    """One sample as a batch of one."""
    if len(sample.shape) == rank and sample.shape[0] != 1:
        raise InvalidValueError(f"solution_image: want one image, got {sample.shape[0]}; the evaluator does not score videos")
    return sample if len(sample.shape) == rank else sample[None]


def _client(servers: Union[str, Sequence[str], None], token: Optional[str]) -> AsyncClient:
    """The client of these servers, shared by all samples of the process."""
    listed: List[str] = settings.servers(servers)
    key = (",".join(listed), token)
    with _lock:
        if key not in _clients:
            _clients[key] = AsyncClient(listed, token=token)
        return _clients[key]
