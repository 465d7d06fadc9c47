#!/usr/bin/env python3
"""Builds the packages of the Python client, with the program in them:

    client/python/wheels.py --out dist
    client/python/wheels.py --out dist --platform linux-x86_64 --platform linux-aarch64

Writes the source distribution, the pure wheel, which has the client alone, and for
each platform a wheel with the program ``densereward`` in it, from which `LocalServer`
and the command take it. The default platform is this machine's, built with its own C
compiler; others are built with zig's (the package ziglang), which also makes wheels
for Linux of glibc 2.17 and later. Programs for macOS and Windows that were built
elsewhere were linked, and never run. Where auditwheel is installed it checks what the
tag of a wheel for Linux promises. Needs go, setuptools and wheel.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib.util
import io
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from typing import Dict, Iterator, List, NamedTuple, Optional

HOME = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HOME))

import apple  # noqa: E402

ROOT = HOME.parents[1]

#: The oldest glibc that zig builds for here: that of manylinux2014.
GLIBC = "2.17"


class Target(NamedTuple):
    """A platform in the words of Go, of zig, and of wheels."""

    goos: str
    goarch: str
    zig: str
    tag: str


TARGETS: Dict[str, Target] = {
    "linux-x86_64": Target("linux", "amd64", f"x86_64-linux-gnu.{GLIBC}", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    "linux-aarch64": Target("linux", "arm64", f"aarch64-linux-gnu.{GLIBC}", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
    "windows-x86_64": Target("windows", "amd64", "x86_64-windows-gnu", "win_amd64"),
    "macos-arm64": Target("darwin", "arm64", "aarch64-macos.12.0", "macosx_12_0_arm64"),
}


def this_platform() -> str:
    """The platform of this machine."""
    system = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}[platform.system()]
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "macos" else "aarch64"}.get(platform.machine().lower(), platform.machine())
    return f"{system}-{machine}"


def build_program(name: str, zig: bool, out: pathlib.Path) -> pathlib.Path:
    """The program for a platform, built with zig's C compiler or this machine's."""
    target = TARGETS[name]
    program = out / ("densereward.exe" if target.goos == "windows" else "densereward")
    env = {**os.environ, "CGO_ENABLED": "1", "GOOS": target.goos, "GOARCH": target.goarch}
    with tempfile.TemporaryDirectory() as stubs:
        if zig:
            found = apple.flags(pathlib.Path(stubs)) if target.goos == "darwin" else []
            env["CC"] = " ".join([sys.executable, "-m", "ziglang", "cc", "-target", target.zig, *found])
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", str(program), "./cmd/densereward"]
        subprocess.run(command, cwd=ROOT, env=env, check=True)
    return program


def platform_tag(name: str, program: pathlib.Path) -> str:
    """The tag of wheels of a platform; for Linux that of the newest glibc whose
    symbols the program asks for, which is what manylinux promises."""
    target = TARGETS[name]
    if target.goos != "linux":
        return target.tag
    asked = [int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", program.read_bytes())]
    newest = max(asked, default=0)
    if newest <= int(GLIBC.split(".")[1]):
        return target.tag
    return f"manylinux_2_{newest}_{name.partition('-')[2]}"


@contextlib.contextmanager
def sources() -> Iterator[pathlib.Path]:
    """A copy of the package's own files, so that builds leave nothing in the tree."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "densereward"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "bin")
        shutil.copytree(HOME / "src", copy / "src", ignore=ignored)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(HOME / name, copy)
        shutil.copy(ROOT / "LICENSE", copy)
        yield copy


def build_pure(out: pathlib.Path, sdist: bool = True) -> pathlib.Path:
    """The source distribution and the pure wheel, whose path it gives."""
    out.mkdir(parents=True, exist_ok=True)
    hook = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
    with sources() as folder:
        made: List[str] = []
        for kind in ["build_sdist"] * sdist + ["build_wheel"]:
            done = subprocess.run(
                [sys.executable, "-c", hook, kind, str(out.resolve())], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
            )
            made.append(done.stdout.split()[-1])
    if sdist:
        settle(out / made[0])
    return out / made[-1]


def settle(sdist: pathlib.Path) -> None:
    """Gives a source distribution the time of SOURCE_DATE_EPOCH, if that is set, and nobody
    for an owner: the same bytes whenever it is made. Wheels have it by themselves."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return
    whole = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=whole, mode="w") as new:
        for entry in sorted(old.getmembers(), key=lambda entry: entry.name):
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = int(epoch), 0, 0, "", ""
            entry.pax_headers = {}
            new.addfile(entry, old.extractfile(entry) if entry.isfile() else None)
    sdist.write_bytes(gzip.compress(whole.getvalue(), mtime=int(epoch)))


def bundle(pure: pathlib.Path, program: pathlib.Path, tag: str, out: pathlib.Path) -> pathlib.Path:
    """A wheel of a platform: the pure one with the program in it."""
    from wheel.wheelfile import WheelFile

    name, version = pure.name.split("-")[:2]
    wheel = out / f"{name}-{version}-py3-none-{tag}.whl"
    with tempfile.TemporaryDirectory() as unpacked:
        folder = pathlib.Path(unpacked)
        with zipfile.ZipFile(pure) as archive:
            archive.extractall(folder)
        home = folder / "densereward/bin"
        home.mkdir()
        shutil.copy(program, home / program.name)
        (home / program.name).chmod(0o755)
        info = folder / f"{name}-{version}.dist-info"
        tags = "".join(f"Tag: py3-none-{t}\n" for t in tag.split("."))
        text = (info / "WHEEL").read_text().replace("Root-Is-Purelib: true", "Root-Is-Purelib: false")
        (info / "WHEEL").write_text(re.sub(r"Tag: .*\n", "", text).rstrip("\n") + "\n" + tags)
        (info / "RECORD").unlink()
        with WheelFile(wheel, "w") as archive:
            archive.write_files(str(folder))
    return wheel


def audit(wheel: pathlib.Path) -> None:
    """Has auditwheel check the tag of a wheel for Linux, where it is installed."""
    if importlib.util.find_spec("auditwheel") is None:
        print(f"{wheel.name}: auditwheel is not installed, its tag is not checked")
        return
    shown = subprocess.run([sys.executable, "-m", "auditwheel", "show", str(wheel)], check=True, stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r'"(manylinux_2_\d+_\w+)"', shown.replace("\n", " "))
    promised = wheel.name.split("-")[-1].split(".")[0]
    if found is None or int(found[1].split("_")[2]) > int(promised.split("_")[2]):
        raise SystemExit(f"{wheel.name} promises more than auditwheel finds:\n{shown}")
    print(f"{wheel.name}: auditwheel finds {found[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("dist"))
    parser.add_argument("--platform", action="append", choices=sorted(TARGETS), help="default this machine's")
    parser.add_argument("--program", type=pathlib.Path, help="a program that was built already, for the one platform")
    args = parser.parse_args()
    platforms: List[str] = args.platform or [this_platform()]
    zig = importlib.util.find_spec("ziglang") is not None
    for name in platforms if args.program is None else ():
        if name not in TARGETS:
            parser.error(f"no wheels are built for {name}, only for {', '.join(TARGETS)}")
        if name != this_platform() and not zig:
            parser.error("other platforms than this machine's need zig: pip install ziglang")
    pure = build_pure(args.out)
    print(pure.name)
    for name in platforms:
        with tempfile.TemporaryDirectory() as folder:
            program: Optional[pathlib.Path] = args.program or build_program(name, zig and name != "macos-arm64" or name != this_platform(), pathlib.Path(folder))
            assert program is not None
            wheel = bundle(pure, program, platform_tag(name, program), args.out)
        print(wheel.name)
        if name.startswith("linux"):
            audit(wheel)


if __name__ == "__main__":
    main()
