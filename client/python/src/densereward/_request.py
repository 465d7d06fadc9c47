"""What a caller asks of a server, checked and split into requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ._errors import InvalidValueError
from ._plain import name, plain, scalar, surrogate, text, whole
from ._samples import Samples
from ._types import AdvantageLike, BatchOptions, Grid, Latents, Metadata, Missing, Return, ScoreOptions, WeightsLike


@dataclass(frozen=True)
class Groups:
    """Groups that span requests: all samples whose requests give the same step
    and whose group has the same name share their statistics, and each request is
    answered when its groups have ``size`` members.

    ``names`` has one name a sample, None for the prompts. ``members`` are the
    samples' places in their groups, in [0,size): with them a repeated request
    takes the place of its first try. ``count`` is the number of groups in the
    step, required for statistics over all of them. Numbers may be numpy's, and
    stand for names.
    """

    step: Union[str, int]
    size: int
    names: Optional[Sequence[Union[str, int]]] = None
    members: Optional[Sequence[int]] = None
    count: Optional[int] = None


class Options(NamedTuple):
    """What a request asks for, beside its samples, in the words of the protocol.
    None leaves the choice to the server."""

    vae: Optional[str] = None
    mode: Optional[str] = None
    grid: Optional[Dict[str, Any]] = None
    groups: Union[List[str], Groups, None] = None
    advantage: Optional[Dict[str, Any]] = None
    weights: Optional[Dict[str, Any]] = None
    returns: Optional[List[str]] = None
    evaluator: Optional[str] = None
    missing: Optional[str] = None
    clamp: Optional[bool] = None
    metadata: Optional[List[Optional[Dict[str, Any]]]] = None


def options(
    vae: Optional[str] = None,
    mode: Optional[str] = None,
    grid: Optional[Grid] = None,
    groups: Union[Sequence[Union[str, int]], Groups, None] = None,
    advantage: AdvantageLike = None,
    weights: WeightsLike = None,
    returns: Union[Return, Sequence[Return], None] = None,
    evaluator: Optional[str] = None,
    missing: Optional[Missing] = None,
    clamp: bool = False,
    metadata: Optional[Sequence[Metadata]] = None,
) -> Options:
    """A caller's wishes as they travel. Raises TypeError and ValueError that name
    what cannot."""
    return Options(
        vae=None if vae is None else text(vae, "vae"),
        mode=None if mode is None else text(mode, "mode"),
        grid=_grid(grid),
        groups=_groups(groups),
        advantage=_advantage(advantage),
        weights=plain(weights, "weights"),
        returns=_returns(returns),
        evaluator=None if evaluator is None else text(evaluator, "evaluator"),
        missing=_missing(missing),
        clamp=True if plain(clamp, "clamp") else None,
        metadata=_metadata(metadata),
    )


def _advantage(advantage: AdvantageLike) -> Optional[Dict[str, Any]]:
    given: Any = scalar(advantage)
    if given is None:
        return None
    if isinstance(given, str):
        given = {"method": given}
    if not isinstance(given, Mapping):
        raise TypeError(f"advantage: want a method or a map, got {type(advantage).__name__}")
    fields: Dict[str, Any] = plain(given, "advantage")
    return fields


def named(given: BatchOptions, groups: Optional[Sequence[Union[str, int]]] = None) -> Tuple[Optional[Latents], Options]:
    """The latents, and `options` of the rest, of arguments by their names. Those of
    `ScoreOptions` may have groups, unless they are given here."""
    unknown = [one for one in given if one not in ScoreOptions.__annotations__]
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; there are: {', '.join(sorted(ScoreOptions.__annotations__))}")
    taken: Dict[str, Any] = dict(given)
    if groups is not None:
        taken["groups"] = groups
    latents = taken.pop("latents", None)
    return latents, options(**taken)


def _grid(grid: Optional[Grid]) -> Optional[Dict[str, Any]]:
    if grid is None:
        return None
    if isinstance(scalar(grid), str):
        return {"preset": text(grid, "grid")}
    if isinstance(grid, Mapping):
        fields: Dict[str, Any] = plain(grid, "grid")
        return fields
    listed = plain(grid, "grid")
    sides = listed if isinstance(listed, list) else [listed, listed]
    if len(sides) != 2:
        raise ValueError(f'grid: want a preset such as "sd3" or "flux", (height, width) or one side, got {grid!r}')
    return {"height": whole(sides[0], "grid height"), "width": whole(sides[1], "grid width")}


def _groups(groups: Union[Sequence[Union[str, int]], Groups, None]) -> Union[List[str], Groups, None]:
    if groups is None:
        return None
    if isinstance(scalar(groups), (str, bytes)):
        raise TypeError("groups: want a list with one name for each sample, got one text")
    if not isinstance(groups, Groups):
        return [name(group, f"groups[{i}]") for i, group in enumerate(groups)]
    return Groups(
        step=name(groups.step, "groups.step"),
        size=whole(groups.size, "groups.size"),
        names=None if groups.names is None else [name(n, f"groups.names[{i}]") for i, n in enumerate(groups.names)],
        members=None if groups.members is None else [whole(m, f"groups.members[{i}]") for i, m in enumerate(groups.members)],
        count=None if groups.count is None else whole(groups.count, "groups.count"),
    )


def _returns(returns: Union[Return, Sequence[Return], None]) -> Optional[List[str]]:
    if returns is None:
        return None
    listed = [returns] if isinstance(scalar(returns), str) else returns
    return [text(r, f"returns[{i}]") for i, r in enumerate(listed)]


def _missing(missing: Optional[Missing]) -> Optional[str]:
    policy = scalar(missing)
    if policy not in (None, "zero", "error"):
        raise ValueError(f'missing {missing!r}: want "zero" or "error"')
    return None if policy is None else text(policy, "missing")


def _metadata(metadata: Optional[Sequence[Metadata]]) -> Optional[List[Optional[Dict[str, Any]]]]:
    if metadata is None:
        return None
    if isinstance(metadata, Mapping):
        raise TypeError("metadata: want a list with one map for each sample, got one map")
    listed = list(metadata)
    for i, entry in enumerate(listed):
        if entry is not None and not isinstance(entry, Mapping):
            raise TypeError(f"metadata[{i}]: want a map or None, got {type(entry).__name__}")
    return [plain(entry, f"metadata[{i}]") for i, entry in enumerate(listed)]


def check_prompts(prompts: Any, samples: Samples) -> List[str]:
    """prompts as a list; one text instead of a list is an error, because its
    letters would count as prompts. A prompt that no text can hold fails its
    sample, and travels as an empty one."""
    if isinstance(scalar(prompts), (str, bytes)):
        raise TypeError("prompts: want a list with one prompt for each image, got one text")
    listed = [scalar(prompt) for prompt in prompts]
    if not listed:
        raise ValueError("prompts: want at least one")
    for i, prompt in enumerate(listed):
        if not isinstance(prompt, str):
            raise TypeError(f"prompts[{i}]: want a text, got {type(prompt).__name__}")
        wrong = surrogate(prompt)
        if wrong is not None and i < len(samples):
            samples.fail(i, InvalidValueError(f"prompts[{i}]: {wrong}"))
        listed[i] = "" if wrong is not None else str.__str__(prompt)
    return listed


def check_counts(samples: Samples, prompts: Sequence[str], options: Options) -> None:
    """Raises ValueError unless everything that goes by sample has as many."""
    counts = {"images" if options.vae is None else "latents": len(samples)}
    groups = options.groups
    if isinstance(groups, Groups):
        if groups.names is not None:
            counts["groups.names"] = len(groups.names)
        if groups.members is not None:
            counts["groups.members"] = len(groups.members)
    elif groups is not None:
        counts["groups"] = len(groups)
    if options.metadata is not None:
        counts["metadata"] = len(options.metadata)
    for field, count in counts.items():
        if count != len(prompts):
            raise ValueError(f"{field}: {count} for {len(prompts)} prompts")


def body(samples: Samples, prompts: Sequence[str], options: Options, places: Sequence[int]) -> Dict[str, Any]:
    """The request for the samples at places, as the map that travels."""
    fields: Dict[str, Any] = {"prompts": [prompts[i] for i in places]}
    fields["images" if options.vae is None else "latents"] = samples.take(places)
    optional = {
        "vae": options.vae,
        "mode": options.mode,
        "grid": options.grid,
        "groups": _groups_of(options.groups, places),
        "advantage": options.advantage,
        "weights": options.weights,
        "return": options.returns,
        "evaluator": options.evaluator,
        "missing": options.missing,
        "clamp": options.clamp,
        "metadata": None if options.metadata is None else [options.metadata[i] for i in places],
    }
    fields.update((key, value) for key, value in optional.items() if value is not None)
    return fields


def _groups_of(groups: Union[List[str], Groups, None], places: Sequence[int]) -> Union[List[str], Dict[str, Any], None]:
    if groups is None:
        return None
    if not isinstance(groups, Groups):
        return [groups[i] for i in places]
    fields: Dict[str, Any] = {"step": groups.step, "size": groups.size}
    if groups.names is not None:
        fields["names"] = [groups.names[i] for i in places]
    if groups.members is not None:
        fields["members"] = [groups.members[i] for i in places]
    if groups.count is not None:
        fields["count"] = groups.count
    return fields


def key(prompts: Sequence[str], options: Options, place: int, by_group: bool) -> Optional[str]:
    """What all requests that a sample's group comes with have in common, None where groups
    are of one request: its step, and by group, unless statistics are of the whole
    step, its name too."""
    groups = options.groups
    if not isinstance(groups, Groups):
        return None
    if groups.count is not None or not by_group:
        return str(groups.step)
    names = prompts if groups.names is None else groups.names
    return f"{groups.step}\0{names[place]}"


def plan(
    sizes: Sequence[int],
    prompts: Sequence[str],
    options: Options,
    most_samples: int,
    most_bytes: int,
    home: Callable[[int], object] = lambda place: None,
) -> List[List[int]]:
    """The places of the samples that each request carries.

    Requests are of about one size, so that servers share the work evenly. Groups
    stay whole where advantages are asked for, because their statistics are of one
    request; statistics over all groups leave the batch in one piece. So do groups that
    span requests by themselves, but for those with another ``home``, by place.
    """
    everything = list(range(len(prompts)))
    advantage = options.advantage or {}
    if isinstance(options.groups, Groups):
        homes: Dict[object, List[int]] = {}
        for i in everything:
            homes.setdefault(home(i), []).append(i)
        return list(homes.values())
    if advantage.get("global_std") or advantage.get("method") == "gdpo":
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
