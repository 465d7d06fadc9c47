"""The program of the server, where it is found, and as this package's command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from typing import Optional

#: What wheels of a platform carry.
_BUNDLED = os.path.join(os.path.dirname(__file__), "bin", "densereward.exe" if os.name == "nt" else "densereward")


def bundled() -> Optional[str]:
    """The program that came with this package, if one did."""
    return _BUNDLED if os.path.isfile(_BUNDLED) else None


def find() -> str:
    """The program that came with this package, else the first on the path. Raises
    FileNotFoundError, with what to do, where there is none."""
    found = bundled() or _on_path()
    if found is None:
        remedy = "build it with `go build ./cmd/densereward` and put it on the path, or name it with program="
        raise FileNotFoundError(f"no program densereward, neither in this package nor on the path: {remedy}")
    return found


def _on_path() -> Optional[str]:
    """The first program of the name on the path that is not this package's command,
    which is a script."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        found = shutil.which("densereward", path=folder)
        if found is not None and not _is_own_command(found):
            return found
    return None


def _is_own_command(program: str) -> bool:
    if os.name == "nt":  # a launcher without a mark of its own
        return os.path.samefile(os.path.dirname(program), sysconfig.get_path("scripts"))
    with open(program, "rb") as file:
        start = file.read(1024)
    return start.startswith(b"#!") and b"densereward" in start


def main() -> None:
    """Becomes the program, with the arguments of this process."""
    try:
        program = find()
    except FileNotFoundError as e:
        sys.exit(str(e))
    if os.name == "nt":
        sys.exit(subprocess.call([program, *sys.argv[1:]]))
    os.execv(program, [program, *sys.argv[1:]])
