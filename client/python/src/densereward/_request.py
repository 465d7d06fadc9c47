"""What a caller asks of a server, checked and split into requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ._samples import Samples

#: A preset by name, or (height, width) in cells.
Grid = Union[str, Tuple[int, int]]


@dataclass(frozen=True)
class Groups:
    """Groups that span requests: all samples whose requests give the same step
    and whose group has the same name share their statistics, and each request is
    answered when its groups have ``size`` members.

    ``names`` has one name a sample, None for the prompts. ``members`` are the
    samples' places in their groups, in [0,size): with them a repeated request
    takes the place of its first try. ``count`` is the number of groups in the
    step, required for statistics over all of them.
    """

    step: str
    size: int
    names: Optional[Sequence[str]] = None
    members: Optional[Sequence[int]] = None
    count: Optional[int] = None


class Options(NamedTuple):
    """What a request asks for, beside its samples. None leaves the choice to the
    server."""

    vae: Optional[str] = None
    mode: Optional[str] = None
    grid: Optional[Grid] = None
    groups: Union[Sequence[str], Groups, None] = None
    advantage: Union[str, Mapping[str, Any], None] = None
    weights: Optional[Mapping[str, Mapping[str, float]]] = None
    returns: Optional[Sequence[str]] = None
    evaluator: Optional[str] = None


def check_prompts(prompts: Any) -> List[str]:
    """prompts as a list; one text instead of a list is an error, because its
    letters would count as prompts."""
    if isinstance(prompts, (str, bytes)):
        raise TypeError("prompts: want a list with one prompt for each image, got one text")
    listed = list(prompts)
    for i, prompt in enumerate(listed):
        if not isinstance(prompt, str):
            raise TypeError(f"prompts[{i}]: want a text, got {type(prompt).__name__}")
    if not listed:
        raise ValueError("prompts: want at least one")
    return listed


def check_counts(samples: Samples, prompts: Sequence[str], options: Options) -> None:
    """Raises ValueError unless everything that goes by sample has as many."""
    n = len(prompts)
    counts = {"images" if options.vae is None else "latents": len(samples)}
    groups = options.groups
    if isinstance(groups, Groups):
        if groups.names is not None:
            counts["groups.names"] = len(groups.names)
        if groups.members is not None:
            counts["groups.members"] = len(groups.members)
    elif groups is not None:
        counts["groups"] = len(groups)
    for field, count in counts.items():
        if count != n:
            raise ValueError(f"{field}: {count} for {n} prompts")


def body(samples: Samples, prompts: Sequence[str], options: Options, places: Sequence[int]) -> Dict[str, Any]:
    """The request for the samples at places, as the map that travels."""
    fields: Dict[str, Any] = {"prompts": [prompts[i] for i in places]}
    fields["images" if options.vae is None else "latents"] = samples.take(places)
    optional = {
        "vae": options.vae,
        "mode": options.mode,
        "grid": _grid(options.grid),
        "groups": _groups(options.groups, places),
        "advantage": {"method": options.advantage} if isinstance(options.advantage, str) else options.advantage,
        "weights": options.weights,
        "return": None if options.returns is None else list(options.returns),
        "evaluator": options.evaluator,
    }
    fields.update((key, _plain(value)) for key, value in optional.items() if value is not None)
    return fields


def _grid(grid: Optional[Grid]) -> Optional[Dict[str, Any]]:
    if grid is None:
        return None
    if isinstance(grid, str):
        return {"preset": grid}
    height, width = grid
    return {"height": int(height), "width": int(width)}


def _groups(groups: Union[Sequence[str], Groups, None], places: Sequence[int]) -> Union[List[str], Dict[str, Any], None]:
    if groups is None:
        return None
    if not isinstance(groups, Groups):
        return [groups[i] for i in places]
    fields: Dict[str, Any] = {"step": groups.step, "size": groups.size}
    if groups.names is not None:
        fields["names"] = [groups.names[i] for i in places]
    if groups.members is not None:
        fields["members"] = [int(groups.members[i]) for i in places]
    if groups.count is not None:
        fields["count"] = groups.count
    return fields


def _plain(value: Any) -> Any:
    """value with every mapping a dict, which is what the encoder knows."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def plan(
    sizes: Sequence[int], prompts: Sequence[str], options: Options, most_samples: int, most_bytes: int
) -> List[List[int]]:
    """The places of the samples that each request carries.

    Requests are of about one size, so that servers share the work evenly. Groups
    stay whole where advantages are asked for, because their statistics are of one
    request; statistics over all groups, and groups that span requests by
    themselves, leave the batch in one piece.
    """
    everything = list(range(len(prompts)))
    advantage = {"method": options.advantage} if isinstance(options.advantage, str) else options.advantage or {}
    if isinstance(options.groups, Groups) or advantage.get("global_std"):
        return [everything]
    if advantage.get("method", "none") == "none":
        return _fill([[i] for i in everything], sizes, most_samples, most_bytes)
    names = prompts if options.groups is None else options.groups
    groups: Dict[str, List[int]] = {}
    for i in everything:
        groups.setdefault(names[i], []).append(i)
    return _fill(list(groups.values()), sizes, most_samples, most_bytes)


def _fill(units: Sequence[List[int]], sizes: Sequence[int], most_samples: int, most_bytes: int) -> List[List[int]]:
    """Units, in order, in as few requests as the limits allow. A unit that
    exceeds them by itself goes alone: the server has the last word."""
    total = sum(len(unit) for unit in units)
    even = -(-total // -(-total // most_samples))  # the size of requests that are alike
    requests: List[List[int]] = []
    current: List[int] = []
    held = 0
    for unit in units:
        weight = sum(sizes[i] for i in unit)
        if current and (len(current) + len(unit) > even or held + weight > most_bytes):
            requests.append(current)
            current, held = [], 0
        current = current + unit
        held += weight
    requests.append(current)
    return [sorted(places) for places in requests]  # one request is then the batch as it was given
