"""What other projects' users reported, tried on the real program and its miniature
checkpoint. README.md beside this names each report and the right value."""

import contextlib
import gzip
import http.client
import io
import json
import os
import pathlib
import pickle
import subprocess
import sys
import uuid
import zlib

import checkpoint
import msgpack
import msgpack_numpy
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from test_local_server import is_gone

import densereward

HERE = pathlib.Path(__file__).parent
IMAGE = HERE / "testdata/a.png"
PROMPT = "a red cube"
TOKEN = "SECRET0123456789abcdef"


@pytest.fixture(scope="module")
def server(program):
    with densereward.LocalServer("--model", checkpoint.NANO, program=program) as server:
        yield server


@pytest.fixture
def client(server):
    with densereward.Client(server.url, timeout=60, tries=1) as client:
        yield client


def score(program, *arguments, **environment):
    """What densereward score prints."""
    run = subprocess.run(
        [program, "score", *map(str, arguments)], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def request(server, method, path, body=None, **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def post_score(server, body, **headers):
    return request(server, "POST", "/v1/score", body, **{"Content_Type": "application/msgpack", **headers})


def body(prompts, side, **rest):
    """A request for scores of small images, as msgpack_numpy packs it."""
    images = [np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3) + i for i in range(len(prompts))]
    return msgpack.packb({"prompts": prompts, "images": images, **rest}, default=msgpack_numpy.encode)


# Checkpoints.


@pytest.fixture(scope="module")
def plain_line(program):
    return score(program, "--model", checkpoint.NANO, "--prompt", PROMPT, IMAGE)


def rename(language, vision):
    """The layout with these prefixes of the two towers."""

    def name(old):
        if old.startswith("model."):
            return language + old.removeprefix("model.")
        return vision + old.removeprefix("visual.") if old.startswith("visual.") else old

    return name


LAYOUTS = {
    "transformers 4.52": rename("model.language_model.", "model.visual."),
    "a language model within": lambda old: rename("language_model.model.", "visual.")(old.replace("lm_head.", "language_model.lm_head.")),
    "a training wrapper's": lambda old: "module." + old,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_scores_alike_under_the_tensor_names_of(layout, program, plain_line, tmp_path):
    assert score(program, "--model", checkpoint.renamed(tmp_path / "m", LAYOUTS[layout]), "--prompt", PROMPT, IMAGE) == plain_line


def test_a_shard_behind_a_link_into_another_folder_is_read(program, plain_line, tmp_path):
    assert score(program, "--model", checkpoint.linked(tmp_path / "m"), "--prompt", PROMPT, IMAGE) == plain_line


def test_rope_parameters_mean_what_rope_theta_and_rope_scaling_mean(program, plain_line, tmp_path):
    def of_transformers_4(config):
        config["rope_theta"] = 100.0

    def of_transformers_5(config):
        sections = config.pop("rope_scaling")["mrope_section"]
        config.pop("rope_theta")
        config["rope_parameters"] = {"mrope_section": sections, "rope_type": "default", "rope_theta": 100.0}

    old = score(program, "--model", checkpoint.copied(tmp_path / "old", of_transformers_4), "--prompt", PROMPT, IMAGE)
    new = score(program, "--model", checkpoint.copied(tmp_path / "new", of_transformers_5), "--prompt", PROMPT, IMAGE)
    assert new == old != plain_line


# Requests.


@pytest.mark.parametrize("media_type", ["application/msgpack", "application/vnd.msgpack", "application/x-msgpack"])
def test_a_request_is_answered_as(media_type, server):
    status, _, answer = post_score(server, body(["a dog"], 16), Content_Type=media_type)
    assert (status, msgpack.unpackb(answer)["errors"]) == (200, [None])


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_decompressed(encoding, compress, server):
    status, _, answer = post_score(server, compress(body(["a dog"], 16)), Content_Encoding=encoding)
    assert (status, msgpack.unpackb(answer)["errors"]) == (200, [None])


def test_a_compression_that_is_not_known_is_refused_with_those_that_are(server):
    status, headers, answer = post_score(server, body(["a dog"], 16), Content_Encoding="br")
    assert status == 415 and b"br" in answer
    assert headers["Accept-Encoding"] == "gzip, deflate, zstd"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/metrics"])
def test_head_answers_what_get_answers_without_a_body(path, server):
    (get, get_headers, _), (head, head_headers, content) = (request(server, method, path) for method in ("GET", "HEAD"))
    assert (get, head, content) == (200, 200, b"")
    assert head_headers["Content-Type"] == get_headers["Content-Type"]


def test_a_prompt_beyond_the_context_is_its_samples_error_and_names_the_limit(server):
    _, _, models = request(server, "GET", "/v1/models")
    limit = json.loads(models)["evaluators"][0]["prompt_tokens"]
    status, _, answer = post_score(server, body(["cat " * 12000, "a dog"], 16, **{"return": []}))
    long, short = msgpack.unpackb(answer)["errors"]
    assert (status, short, long["code"]) == (200, None, "invalid_value")
    assert f"tokens, the limit is {limit}" in long["message"]


def test_images_smaller_than_a_cell_are_scored(server):
    status, _, answer = post_score(server, body(["a dog", "a cat"], 7))
    answer = msgpack.unpackb(answer, object_hook=msgpack_numpy.decode)
    assert (status, answer["errors"]) == (200, [None, None])
    assert answer["dense"]["weight"].shape == (2, 1, 1)


def test_a_member_that_comes_again_with_other_maps_under_one_reward_is_a_conflict(client):
    first, other, *rest = (np.array(Image.open(HERE / "testdata" / name).convert("RGB").resize((64, 64))) for name in "a.png b.jpg x.png d.png".split())
    prompts, step = ["a small red cube on a table"] * 3, str(uuid.uuid4())

    def ask(image):
        groups = densereward.Groups(step, 3, members=[0, 1, 2])
        return client.score([image, *rest], prompts, groups=groups, advantage="denseflow_paper", grid=(1, 1), missing="zero")

    alike = client.score([first, other], prompts[:2], grid=(1, 1), missing="zero")
    assert alike.rewards[0] == alike.rewards[1] and alike.dense.reward[0] != alike.dense.reward[1]
    np.testing.assert_array_equal(ask(first).advantages, ask(first).advantages)
    with pytest.raises(densereward.GroupConflictError):
        ask(other)


# The Python client.

NUMBERS = {
    "a float32 weight": {"weights": {"scores": {"overall": np.float32(0.5)}}},
    "a float32 floor": {"advantage": {"method": "denseflow_paper", "floor": np.float32(0.1)}},
    "a bool_": {"advantage": {"method": "flowgrpo", "global_std": np.bool_(True)}},
    "int64 sizes and counts": {
        "groups": densereward.Groups("numbers", np.int64(1), names=["a", "b"], members=[0, 0], count=np.int64(2)),
        "advantage": {"method": "flowgrpo", "global_std": True},
    },
    "int64 groups": {"groups": np.array([7, 7]), "advantage": "flowgrpo"},
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_numpy_count_as_numbers(kind, client):
    assert client.score(np.zeros((2, 16, 16, 3), np.uint8), ["a", "b"], missing="zero", **NUMBERS[kind]).ok.all()


def test_a_file_that_pillow_finds_broken_late_costs_its_neighbour_nothing(client):
    broken = Image.open(io.BytesIO((HERE.parent / "testdata/broken.png").read_bytes()))
    result = client.score([Image.new("RGB", (16, 16)), broken], ["a", "b"], missing="zero")
    assert result.errors[0] is None and isinstance(result.errors[1], densereward.ImageCorruptError)


FAILURES = {
    "of a sample": lambda client: client.score([b"junk"], ["a"]).raise_for_errors(),
    "of a request": lambda client: client.score([b"junk"], ["a"], evaluator="nobody"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_an_error_crosses_processes_as_it_is(kind, client):
    with pytest.raises(densereward.DenseRewardError) as caught:
        FAILURES[kind](client)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value) and str(again) == str(caught.value)
    assert getattr(again, "status", None) == getattr(caught.value, "status", None)


def test_https_to_a_plain_server_fails_at_once_and_names_the_address_to_use(server):
    with densereward.Client(server.url.replace("http:", "https:")) as client, pytest.raises(densereward.ConfigurationError) as caught:
        client.score(np.zeros((1, 16, 16, 3), np.uint8), ["a"])
    assert f"does not speak TLS: try {server.url}" in str(caught.value)


def test_a_token_that_ends_in_a_newline_lets_in(program, tmp_path):
    (tmp_path / "tokens").write_text(f"{TOKEN}\n")
    with densereward.LocalServer("--model", checkpoint.NANO, "--tokens", tmp_path / "tokens", program=program) as server:
        with densereward.Client(server.url, token=TOKEN + "\n") as client:
            assert client.score(np.zeros((1, 16, 16, 3), np.uint8), ["a"], missing="zero").ok.all()
        with densereward.Client(server.url, token=f"other{TOKEN}\n") as client, pytest.raises(densereward.UnauthorizedError) as caught:
            client.score(np.zeros((1, 16, 16, 3), np.uint8), ["a"])
    assert TOKEN not in str(caught.value)


METHODS = "none flowgrpo denseflow denseflow_paper boxflow gdpo densegrpo"
WRONG = {
    "a preset": ({"grid": "sd4"}, "sd3, flux, flux2, qwen-image, qwen-image-2.1, sana, wan, z-image"),
    "a method": ({"advantage": "ppo"}, f"[{METHODS}]"),
    "a score's weight": ({"weights": {"scores": {"beauty": 1}}}, "[semantic_alignment aesthetics plausibility overall]"),
    "a map's weight": ({"weights": {"heatmaps": {"beauty": 1}}}, "[misalignment artifact]"),
    "an evaluator": ({"evaluator": "doctor"}, "[imagedoctor]"),
    "a mode": ({"mode": "reason"}, '"answer" or "think"'),
    "a thing to return": ({"returns": "heatmap"}, "[dense heatmaps text boxes images]"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_name_is_told_the_right_ones(kind, client):
    options, right = WRONG[kind]
    with pytest.raises(densereward.ServerError) as caught:
        client.score(np.zeros((1, 16, 16, 3), np.uint8), ["a"], **options)
    assert right in str(caught.value)


def test_a_wrong_decoder_is_told_how_to_have_one(client):
    with pytest.raises(densereward.UnknownVAEError, match="the server has none: serve --vae NAME=PATH"):
        client.score(latents=np.zeros((1, 16, 8, 8), np.float32), vae="sd3", prompts=["a"])


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "ICO"])
def test_a_file_of_another_format_is_told_the_right_ones(format, client):
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, format)
    (error,) = client.score([file.getvalue()], ["a"]).errors
    assert isinstance(error, densereward.ImageUnsupportedError) and "PNG, JPEG or WebP" in str(error)


@pytest.mark.parametrize("image", [IMAGE, str(IMAGE), io.BytesIO(IMAGE.read_bytes()), IMAGE.read_bytes()], ids=["a Path", "a path", "a BytesIO", "bytes"])
def test_a_grid_of_one_side_one_return_and_files_just_work(image, client):
    result = client.score([image], ["a"], grid=64, returns=["heatmaps", "dense"], missing="zero")
    alone = client.score([image], ["a"], returns="heatmaps", missing="zero")
    assert result.dense.weight.shape == (1, 64, 64)
    np.testing.assert_array_equal(alone.heatmaps.artifact, result.heatmaps.artifact)


# Processes.

TRAINER = """
import os, signal, sys, densereward
print(densereward.LocalServer(program=sys.argv[2])._process.pid, flush=True)
if sys.argv[1] == "an exception":
    raise RuntimeError("the trainer failed")
if sys.argv[1] == "SIGKILL":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="watches processes as Linux does")
@pytest.mark.parametrize("end", ["the end", "an exception", "SIGKILL"])
def test_a_local_server_is_gone_after_its_trainers(end, program):
    command = [sys.executable, "-c", TRAINER, end, program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "client/python/src")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as trainer:
        pid = int(trainer.stdout.readline())
    assert is_gone(pid)


def test_fifty_thousand_bytes_of_arguments_do_not_crash_onnxruntime(program, plain_line):
    detours = "/." * 1900
    names = [f"{IMAGE.parent}{detours}/{IMAGE.name}"] * 13
    lines = score(program, "--model", checkpoint.NANO, "--prompt", PROMPT, *names).splitlines()
    scored = [{**json.loads(line), "image": str(IMAGE)} for line in lines]
    assert sum(map(len, names)) > 50_000 and scored == [json.loads(plain_line)] * 13


@pytest.mark.skipif(sys.platform != "linux", reason="the library's name, and where it wrote, are those of Linux")
def test_nothing_is_written_but_the_cache(program, plain_line, tmp_path):
    user_cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    library = os.environ.get("DENSEREWARD_ONNXRUNTIME") or next(user_cache.glob("densereward/**/libonnxruntime.so*"))
    (tmp_path / "tmp").mkdir()
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "", "TMPDIR": str(tmp_path / "tmp")}
    line = score(program, "--model", checkpoint.NANO, "--onnxruntime", library, "--prompt", PROMPT, IMAGE, **home)
    written = [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()]
    assert line == plain_line and not [name for name in written if not name.startswith(".cache/densereward/")]
