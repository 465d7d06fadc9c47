"""What the drop-ins have in common."""

from __future__ import annotations

import os
from typing import List, Sequence, Union

from .._servers import addresses

#: The environment variable that holds the server's address, or several with
#: commas between, where none is given.
ENV_SERVERS = "DENSEREWARD_URL"


def servers(given: Union[str, Sequence[str], None]) -> List[str]:
    """The addresses that are given, else those of the environment. Raises
    ValueError where there are none."""
    named = os.environ.get(ENV_SERVERS, "") if given is None else given
    if not named:
        raise ValueError(f"no server: give its address, or set {ENV_SERVERS}")
    return addresses(named)
