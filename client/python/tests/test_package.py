"""The package as people install it."""

import ast
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest
from conftest import ROOT

import densereward

HOME = ROOT / "client/python"
sys.path.insert(0, str(HOME))

import wheels  # noqa: E402

SOURCES = sorted((HOME / "src/densereward").rglob("*.py"))


@pytest.fixture(scope="session")
def pure_wheel(tmp_path_factory):
    return wheels.build_pure(tmp_path_factory.mktemp("dist"))


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def test_it_builds_into_a_typed_wheel_with_all_its_modules(pure_wheel):
    files = contents(pure_wheel)
    metadata = next(text for name, text in files.items() if name.endswith("METADATA")).decode()
    assert {str(s.relative_to(HOME / "src")) for s in SOURCES} | {"densereward/py.typed"} <= set(files)
    for line in ("Requires-Python: >=3.9", "Requires-Dist: numpy", "Requires-Dist: msgpack", "Requires-Dist: urllib3"):
        assert line in metadata
    assert "torch" not in metadata.split("\n\n")[0]
    assert any(name.endswith("LICENSE") for name in files)
    with tarfile.open(next(pure_wheel.parent.glob("*.tar.gz"))) as sdist:
        assert {"pyproject.toml", "README.md", "LICENSE"} <= {name.partition("/")[2] for name in sdist.getnames()}


def test_package_program_and_distribution_have_one_version(program, pure_wheel):
    said = subprocess.run([program, "version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    assert said[:2] == ["densereward", densereward.__version__]
    assert pure_wheel.name == f"densereward-{densereward.__version__}-py3-none-any.whl"


@pytest.fixture(scope="session")
def installed(tmp_path_factory, pure_wheel, program):
    """A fresh virtual environment with the wheel of this platform in it: what gives
    the environment of its processes, with this Python's packages to depend on."""
    folder = tmp_path_factory.mktemp("venv")
    tag = wheels.platform_tag(wheels.this_platform(), pathlib.Path(program))
    wheel = wheels.bundle(pure_wheel, pathlib.Path(program), tag, folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    binaries = folder / "venv/bin"
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
    depended = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))
    return {**os.environ, "PATH": str(binaries) + os.pathsep + os.environ["PATH"], "PYTHONPATH": depended}


def output_of(command, env, cwd):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env, cwd=cwd).stdout


def test_an_installed_wheel_brings_the_command(installed, tmp_path):
    assert output_of(["densereward", "version"], installed, tmp_path).startswith(f"densereward {densereward.__version__}")
    output_of(["densereward", "demo", "--out", str(tmp_path / "demo")], installed, tmp_path)
    assert list((tmp_path / "demo").iterdir())


def test_the_readme_s_lines_run_with_an_installed_wheel(installed, tmp_path):
    """With a local server, whose program is the one in the wheel."""
    lines = re.search(r"```python\n(.*?)```", (HOME / "README.md").read_text(), re.DOTALL)[1]
    before = """
import numpy as np
images, prompts = np.zeros((2, 3, 64, 64), np.uint8), ["a cat"] * 2
import densereward
server = densereward.LocalServer()
"""
    after = """
print(densereward.__file__)
print(result.rewards.shape, result.dense.reward.shape, result.advantages.tolist(), result.errors)
"""
    lines = lines.replace('"http://localhost:8080"', "server.url")
    assert "server.url" in lines
    where, said = output_of(["python", "-W", "ignore", "-c", before + lines + after], installed, tmp_path).splitlines()
    assert "site-packages" in where and said == "(2,) (2, 8, 8) [0.0, 0.0] [None, None]"


def test_a_pure_wheel_s_command_says_what_it_lacks(pure_wheel, tmp_path):
    with zipfile.ZipFile(pure_wheel) as archive:
        archive.extractall(tmp_path)
    depended = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path.endswith("-packages"))])
    own = tmp_path / "densereward-command/densereward"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\n# densereward._program\nexit 1\n")
    own.chmod(0o755)
    for path in (str(own.parent), str(tmp_path)):  # where this command is, and where nothing is
        command = [sys.executable, "-c", "import densereward._program as p; p.main()"]
        done = subprocess.run(command, env={"PYTHONPATH": depended, "PATH": path}, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        assert done.returncode == 1 and "go build ./cmd/densereward" in done.stderr


def test_the_tag_of_a_program_is_that_of_its_newest_glibc(tmp_path):
    for symbols, tag in {
        b"GLIBC_2.3.4\0GLIBC_2.17\0": "manylinux_2_17_x86_64.manylinux2014_x86_64",
        b"GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.4": "manylinux_2_34_x86_64",
        b"": "manylinux_2_17_x86_64.manylinux2014_x86_64",
    }.items():
        (tmp_path / "program").write_bytes(b"\x7fELF" + symbols)
        assert wheels.platform_tag("linux-x86_64", tmp_path / "program") == tag


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is not None, reason="zig builds it")
def test_a_platform_that_cannot_be_built_here_is_refused(tmp_path):
    other = "macos-arm64" if sys.platform != "darwin" else "linux-x86_64"
    command = [sys.executable, str(HOME / "wheels.py"), "--out", str(tmp_path / "dist"), "--platform", other]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "ziglang" in done.stderr
    assert not (tmp_path / "dist").exists()


def test_stubs_for_a_mac_name_what_go_takes_of_it(tmp_path):
    import apple

    flags = apple.flags(tmp_path)
    assert flags == [f"-F{tmp_path}", f"-L{tmp_path}", f"-I{tmp_path}"]
    security = (tmp_path / "Security.framework/Security.tbd").read_text()
    assert "install-name: '/System/Library/Frameworks/Security.framework/" in security and "_SecTrustEvaluateWithError" in security
    assert "_res_9_nsearch" in (tmp_path / "libresolv.tbd").read_text()
    assert "_CFRelease" in (tmp_path / "CoreFoundation.framework/CoreFoundation.tbd").read_text()


def imports(source):
    """The modules that a file imports, and whether at its top or inside."""
    tree = ast.parse(source.read_text())
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name.partition(".")[0], node in top
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0], node in top


def test_nothing_reads_or_writes_pickle():
    for source in SOURCES:
        assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle"} & {name for name, _ in imports(source)}, source


def test_torch_is_imported_on_use_alone():
    for source in SOURCES:
        if not source.name.startswith("flow_factory") and source.parent.name != "torch":  # which live inside a torch program
            assert ("torch", True) not in set(imports(source)), source


def test_the_public_names_are_there():
    program = "import densereward; print(*(n for n in densereward.__all__ if not hasattr(densereward, n)))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(HOME / "src")}
    )
    assert done.stdout.strip() == ""


def test_the_names_of_version_0_1_still_work():
    from densereward.client import Client
    from densereward.errors import ConnectionFailed, SampleErrors
    from densereward.local import LocalServer

    assert (Client, LocalServer) == (densereward.Client, densereward.LocalServer)
    assert ConnectionFailed is densereward.ConnectionFailed is densereward.ConnectionFailedError
    assert SampleErrors is densereward.SampleErrors is densereward.SamplesFailedError
    assert densereward.Overloaded is densereward.OverloadedError
