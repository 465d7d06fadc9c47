"""Files in all the ways that people have them."""

import base64
import io
import pathlib

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from PIL import Image
from test_images import as_file

import densereward

HERE = pathlib.Path(__file__).parent
PROMPTS = ["a"]


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def written(path, data):
    path.write_bytes(data)
    return path


def at_its_end(data):
    buffer = io.BytesIO()
    buffer.write(data)
    return buffer


def wrapped(data):
    """Base64 in lines of 76, as e-mail has it."""
    return base64.encodebytes(data).decode()


PNG = {
    "a Path": lambda png, folder: written(folder / "a.png", png),
    "the text of a path": lambda png, folder: str(written(folder / "a.png", png)),
    "a BytesIO": lambda png, folder: io.BytesIO(png),
    "a BytesIO that was just written": lambda png, folder: at_its_end(png),
    "a data: URI": lambda png, folder: "data:image/png;base64," + base64.b64encode(png).decode(),
    "a data: URI of any case without a type": lambda png, folder: "DATA:;base64," + base64.b64encode(png).decode(),
    "a data: URI with line breaks": lambda png, folder: "data:image/png;base64," + wrapped(png),
    "base64": lambda png, folder: base64.b64encode(png).decode(),
    "base64 with line breaks": lambda png, folder: wrapped(png).replace("\n", "\r\n"),
    "base64 of URLs, without padding": lambda png, folder: base64.urlsafe_b64encode(png).decode().rstrip("="),
}


@pytest.mark.parametrize("kind", PNG)
def test_a_file_just_works(kind, client, tmp_path):
    (image,) = random_images(1)
    result = client.score([PNG[kind](as_file(image, "PNG"), tmp_path)], PROMPTS)
    np.testing.assert_allclose(result.rewards, rewards([image], PROMPTS), rtol=1e-12)


def test_an_open_file_just_works(client, tmp_path):
    (image,) = random_images(1)
    with open(written(tmp_path / "a.png", as_file(image, "PNG")), "rb") as file:
        result = client.score([file], PROMPTS)
    np.testing.assert_allclose(result.rewards, rewards([image], PROMPTS), rtol=1e-12)


NPY = {
    "levels": lambda image: image,
    "Fortran order": np.asfortranarray,
    "channels first": lambda image: np.ascontiguousarray(image.transpose(2, 0, 1)),
    "float64": lambda image: image / 255,
    "big-endian float32 in Fortran order": lambda image: np.asfortranarray((image / 255).astype(">f4")),
    "big-endian float64": lambda image: (image / 255).astype(">f8"),
    "float16": lambda image: (image / 255).astype(np.float16),
}


@pytest.mark.parametrize("kind", NPY)
def test_a_npy_file_just_works(kind, client, tmp_path):
    (image,) = random_images(1)
    data = npy(NPY[kind](image))
    for given in (data, written(tmp_path / "a.npy", data)):
        result = client.score([given], PROMPTS)
        np.testing.assert_allclose(result.rewards, rewards([image], PROMPTS), rtol=1e-12)


def closed():
    image = Image.open(io.BytesIO(as_file(random_images(1)[0], "PNG")))
    image.close()
    return image


BROKEN = {
    "a PIL image whose chunks are broken": (lambda: Image.open(io.BytesIO((HERE / "testdata/broken.png").read_bytes())), densereward.ImageCorruptError),
    "a PIL image that was closed": (closed, densereward.ImageCorruptError),
    "a PIL image without pixels": (lambda: Image.new("RGB", (0, 8)), densereward.ImageCorruptError),
    "a PIL image of 32-bit integers": (lambda: Image.new("I", (8, 8), 40000), densereward.ImageCorruptError),
    "a PIL image of floats": (lambda: Image.new("F", (8, 8), 0.5), densereward.ImageCorruptError),
    "a PIL image of 16-bit levels": (lambda: Image.fromarray(np.full((8, 8), 40000, np.uint16)), densereward.ImageCorruptError),
    "a path to nothing": (lambda: pathlib.Path("nowhere.png"), densereward.ImageCorruptError),
    "a folder": (lambda: HERE, densereward.ImageCorruptError),
    "a file opened for text": (lambda: io.StringIO("text"), densereward.ImageCorruptError),
    "a data: URI without data": (lambda: "data:image/png", densereward.ImageCorruptError),
    "a data: URI that is not base64": (lambda: "data:image/png;base64,*", densereward.ImageCorruptError),
    "a .npy file of objects": (lambda: npy(np.zeros(3)).replace(b"<f8", b"|O8"), densereward.ImageCorruptError),
    "a .npy file that is cut short": (lambda: npy(np.zeros((8, 8, 3)))[:-1], densereward.ImageCorruptError),
    "a .npy file of an impossible size": (lambda: npy(np.zeros((8, 8, 3))).replace(b"(8, 8, 3), }          ", b"(9999999999, 8, 3), } "), densereward.ImageCorruptError),
    "a .npy file of no image": (lambda: npy(np.zeros(8)), densereward.ImageUnsupportedError),
    "a .npy file of integers": (lambda: npy(np.zeros((8, 8, 3), np.int64)), densereward.ImageUnsupportedError),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_costs_its_neighbours_nothing(kind, client, images):
    make, error = BROKEN[kind]
    result = client.score([images[0], make(), images[2]], ["a", "b", "c"])
    assert [type(e) for e in result.errors] == [type(None), error, type(None)]
    assert result.errors[1].message.startswith("image 1: ")
    np.testing.assert_allclose(result.rewards[[0, 2]], rewards(images[[0, 2]], ["a", "c"]), rtol=1e-12)


def test_errors_of_pillow_of_any_class_are_the_samples(client, images, monkeypatch):
    for error in (SyntaxError, OSError, ValueError, KeyError, IndexError, RuntimeError, Image.DecompressionBombError):
        bad = Image.fromarray(images[1])
        monkeypatch.setattr(bad, "convert", lambda mode, error=error: (_ for _ in ()).throw(error("told to")))
        result = client.score([images[0], bad], ["a", "b"])
        assert result.errors[0] is None and error.__name__ in result.errors[1].message
