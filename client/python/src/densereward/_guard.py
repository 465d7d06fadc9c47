"""Runs a command for as long as the process that asked for it lives:

    python3 _guard.py PARENT SECONDS COMMAND...

PARENT is the process id of the one that asked, which is the parent of this one. It
cannot see to it itself: a process that is killed runs nothing any more, and Linux's
signal at the death of a parent comes at the death of the thread that asked for it.
When the parent is gone, or this process gets SIGTERM, the command gets SIGTERM, and
with all that it started SIGKILL after SECONDS; after a few if nobody waits for its
answers any more. Ends with the command's exit code. Imports nothing beyond Python
itself, so that it costs little beside a server.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from typing import List, Optional

assert sys.platform != "win32"  # where job objects do it

#: Seconds that a command gets when its parent is gone, with the answers' readers.
ORPHAN_SECONDS = 2.0

#: Seconds between two looks at the parent.
LOOK_SECONDS = 0.25

_PR_SET_PDEATHSIG = 1


def guard(parent: int, seconds: float, command: List[str]) -> int:
    """Runs the command to its end, the parent's or SIGTERM; gives its exit code."""
    signals, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    asked: List[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, frame: asked.append(n))
    signal.signal(signal.SIGCHLD, lambda n, frame: None)
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=_end_with_this_process)
    killed_at: Optional[float] = None
    while child.poll() is None:
        if killed_at is None and (asked or os.getppid() != parent):
            killed_at = time.monotonic() + (seconds if asked else ORPHAN_SECONDS)
            _signal(child.pid, signal.SIGTERM)
        if killed_at is not None and time.monotonic() > killed_at:
            _signal(child.pid, signal.SIGKILL)
        if select.select([signals], [], [], LOOK_SECONDS)[0]:
            os.read(signals, 512)
    _signal(child.pid, signal.SIGKILL)  # what it started and left behind
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # the latter is macOS's word for a group of zombies
        pass


def _end_with_this_process() -> None:
    """Has Linux kill the command if this process is killed. It has one thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
