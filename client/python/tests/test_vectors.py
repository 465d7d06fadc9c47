"""The bytes of the protocol, as reward/wire/testdata/vectors.json has them."""

import json

import numpy as np
import pytest
import urllib3
from conftest import ROOT

import densereward
from densereward import _request as request
from densereward._message import Message
from densereward._request import Groups
from densereward._response import decode, unpack
from densereward._samples import ImageList, Stack
from densereward._tensor import Tensor

VECTORS = json.loads((ROOT / "reward/wire/testdata/vectors.json").read_text())["vectors"]


def vectors(kind):
    found = [v for v in VECTORS if v["kind"] == kind]
    assert found, f"no vector of kind {kind}"
    return pytest.mark.parametrize("vector", found, ids=[v["name"] for v in found])


def meant(value):
    """A value of the file with its bytes and tensors."""
    if isinstance(value, dict):
        if "$bin" in value:
            return bytes.fromhex(value["$bin"])
        if "$nan" in value:
            return float("nan")
        if "$tensor" in value:
            t = value["$tensor"]
            return Tensor(t["type"], tuple(t["shape"]), memoryview(bytes.fromhex(t["data"])))
        return {k: meant(v) for k, v in value.items()}
    if isinstance(value, list):
        return [meant(v) for v in value]
    return value


def asked(fields):
    """The samples and options of a request, as a caller states them."""
    fields = meant(fields)
    grid, groups = fields.get("grid"), fields.get("groups")
    if grid is not None:
        grid = grid["preset"] if "preset" in grid else (grid["height"], grid["width"])
    if isinstance(groups, dict):
        groups = Groups(**groups)
    options = request.options(
        vae=fields.get("vae"),
        mode=fields.get("mode"),
        grid=grid,
        groups=groups,
        advantage=fields.get("advantage"),
        weights=fields.get("weights"),
        returns=fields.get("return"),
        evaluator=fields.get("evaluator"),
    )
    given = fields.get("images", fields.get("latents"))
    if isinstance(given, Tensor):
        return Stack(given), fields["prompts"], options
    return ImageList([i if isinstance(i, bytes) else as_array(i) for i in given]), fields["prompts"], options


def as_array(t):
    return np.frombuffer(t.data, dtype=t.type).reshape(t.shape)


def same_keys_as_bin(body):
    """The body with a tensor's keys as bin, which is how this client writes them."""
    for key in (b"nd", b"type", b"kind", b"shape", b"data"):
        body = body.replace(bytes([0xA0 + len(key)]) + key, b"\xc4" + bytes([len(key)]) + key)
    return body.replace(b"kind\xa0", b"kind\xc4\x00")


@vectors("request")
def test_a_request_is_written_as_the_protocol_has_it(vector):
    samples, prompts, options = asked(vector["value"])
    message = Message(request.body(samples, prompts, options, range(len(prompts))))
    want = bytes.fromhex(vector["hex"])
    assert bytes(message) in (want, same_keys_as_bin(want))
    assert message.size == len(bytes(message))


@vectors("response")
def test_a_response_means_what_the_protocol_says(vector):
    result = decode(bytes.fromhex(vector["hex"]))
    want = meant(vector["value"])
    np.testing.assert_array_equal(result.rewards, as_array(want["rewards"]))
    for name, values in want["scores"].items():
        np.testing.assert_array_equal(result.scores[name], as_array(values))
    assert result.missing == want["missing"]
    assert [e and {"code": e.code, "message": e.message} for e in result.errors] == want["errors"]
    assert result.cached == want.get("cached")
    assert (result.evaluator, result.model, result.timing_ms) == (want["evaluator"], want["model"], want["timing_ms"])
    assert result.resize == want.get("resize", "")
    assert result.texts == want.get("texts")
    check_maps(result, want)
    boxes = None if result.boxes is None else [[{**b._asdict(), "box": list(b.box)} for b in s] for s in result.boxes]
    assert boxes == want.get("boxes")


def check_maps(result, want):
    assert (result.dense is None) == ("dense" not in want)
    if result.dense is not None:
        assert list(result.dense.grid) == want["dense"]["grid"]
        np.testing.assert_array_equal(result.dense.weight, as_array(want["dense"]["weight"]))
        np.testing.assert_array_equal(result.dense.reward, as_array(want["dense"]["reward"]))
    assert (result.heatmaps is None) == ("heatmaps" not in want)
    if result.heatmaps is not None:
        np.testing.assert_array_equal(result.heatmaps.misalignment, as_array(want["heatmaps"]["misalignment"]))
        np.testing.assert_array_equal(result.heatmaps.artifact, as_array(want["heatmaps"]["artifact"]))
    assert (result.advantages is None) == ("advantages" not in want)
    if result.advantages is not None:
        np.testing.assert_array_equal(result.advantages, as_array(want["advantages"]))


@vectors("error")
def test_an_error_means_what_the_protocol_says(vector):
    assert unpack(bytes.fromhex(vector["hex"])) == vector["value"]
    assert vector["value"]["code"] in densereward.error_codes()


@vectors("refused")
def test_a_server_refuses_what_the_protocol_refuses(vector, shared_server):
    with urllib3.PoolManager() as pool:
        headers = {"Content-Type": "application/msgpack"}
        answer = pool.request("POST", shared_server.url + "/v1/score", body=bytes.fromhex(vector["hex"]), headers=headers)
    assert unpack(answer.data)["code"] == vector["code"]


def test_every_code_of_the_protocol_has_its_class_and_status():
    lines = (ROOT / "reward/testdata/codes.txt").read_text().split("\n")
    want = {code: int(status) for status, code in (line.split() for line in lines if line)}
    assert {code: c.status for code, c in densereward.error_codes().items()} == want
    for code, c in densereward.error_codes().items():
        assert getattr(densereward, c.__name__) is c, f"{code} is not exported"
        assert c.__doc__
