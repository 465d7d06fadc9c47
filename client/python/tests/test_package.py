"""The package as people install it."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile

from conftest import ROOT

HOME = ROOT / "client/python"
SOURCES = sorted((HOME / "src/densereward").rglob("*.py"))


def test_it_builds_into_a_typed_wheel_with_all_its_modules(tmp_path):
    shutil.copytree(HOME / "src", tmp_path / "package/src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(HOME / name, tmp_path / "package")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", str(tmp_path), str(tmp_path / "package")], check=True)
    (wheel,) = tmp_path.glob("densereward-*.whl")
    with zipfile.ZipFile(wheel) as contents:
        names = set(contents.namelist())
        metadata = contents.read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert {str(s.relative_to(HOME / "src")) for s in SOURCES} | {"densereward/py.typed"} <= names
    for line in ("Requires-Python: >=3.9", "Requires-Dist: numpy", "Requires-Dist: msgpack", "Requires-Dist: urllib3"):
        assert line in metadata
    assert "torch" not in metadata.split("\n\n")[0]


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
    import densereward
    from densereward.client import Client
    from densereward.errors import ConnectionFailed, SampleErrors
    from densereward.local import LocalServer

    assert (Client, LocalServer) == (densereward.Client, densereward.LocalServer)
    assert ConnectionFailed is densereward.ConnectionFailed is densereward.ConnectionFailedError
    assert SampleErrors is densereward.SampleErrors is densereward.SamplesFailedError
    assert densereward.Overloaded is densereward.OverloadedError
