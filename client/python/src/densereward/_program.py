"""The program of the server, where it is found, and as this package's command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Optional

#: What wheels of a platform carry.
_BUNDLED = os.path.join(os.path.dirname(__file__), "bin", "densereward.exe" if os.name == "nt" else "densereward")


def bundled() -> Optional[str]:
    """The program that came with this package, if one did."""
    return _BUNDLED if os.path.isfile(_BUNDLED) else None


def find() -> str:
    """The program that came with this package, else the first on the path. Raises
    FileNotFoundError, with what to do, where there is none."""
    found = bundled() or shutil.which("densereward")
    if found is None:
        remedy = "build it with `go build ./cmd/densereward` and put it on the path, or name it with program="
        raise FileNotFoundError(f"no program densereward, neither in this package nor on the path: {remedy}")
    return found


def main() -> None:
    """Becomes the bundled program, with the arguments of this process."""
    program = bundled()
    if program is None:
        sys.exit("this installation of the densereward package came without the program; build it with `go build ./cmd/densereward`")
    if os.name == "nt":
        sys.exit(subprocess.call([program, *sys.argv[1:]]))
    os.execv(program, [program, *sys.argv[1:]])
