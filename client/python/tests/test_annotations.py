"""What type checkers see of the package: nothing public is of any type at all."""

import ast
import pathlib

import pytest

import densereward

PUBLIC = ("_client", "_async_client", "_response", "_types", "_request", "_job", "ray")


def overloaded(function):
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in function.decorator_list)


def annotations(body, public):
    """The annotations of public names; of overloads, not their implementation's."""
    shown = {f.name for f in body if isinstance(f, ast.FunctionDef) and overloaded(f)}
    shown |= {f.name for f in body if isinstance(f, ast.AsyncFunctionDef) and overloaded(f)}
    for node in body:
        if isinstance(node, ast.ClassDef) and public(node.name):
            yield from annotations(node.body, lambda name: not name.startswith("_") or name in ("__init__", "__call__"))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and public(node.target.id):
            yield node.target.id, node.annotation
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and public(node.name):
            if node.name in shown and not overloaded(node):
                continue
            every = [*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            for given in [*(a.annotation for a in every if a is not None), node.returns]:
                if given is not None:
                    yield node.name, given


@pytest.mark.parametrize("module", PUBLIC)
def test_nothing_public_is_any(module):
    source = pathlib.Path(densereward.__file__).with_name(module + ".py").read_text()
    names = {*densereward.__all__, "Scorer", "ScorerOptions", "ScoreOptions", "BatchOptions", "ClientOptions", "AsyncClientOptions"}
    found = list(annotations(ast.parse(source).body, lambda name: name in names))
    assert found
    loose = [name for name, given in found for part in ast.walk(given) if isinstance(part, ast.Name) and part.id == "Any"]
    assert loose == []
