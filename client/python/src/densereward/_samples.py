"""What a caller hands in, images or latents, as parts of requests."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np

from . import _image_source as image_source
from . import _pixel_range as pixel_range
from ._errors import ImageCorruptError, ImageUnsupportedError, PixelRangeError, ServerError
from ._tensor import FLOATS, Tensor, host_array, is_array, is_torch, numpy_array, numpy_view, pack

IMAGE_TYPES = ("|u1", *FLOATS)

#: What Pillow's modes of numbers without an agreed range begin with.
_RANGELESS_MODES = ("I", "F")

#: One image: the bytes of a file, or a tensor (h,w,3) or (3,h,w).
Image = Union[memoryview, Tensor]

#: Stands for an image that could not be read: the server refuses it, so that it
#: keeps its place and takes no part in statistics.
_EMPTY = memoryview(b"")


class Stack:
    """Samples in one array: the first dimension counts them.

    ``failed`` holds the reasons of those that must not be scored. NaN travels in
    their place, which the server refuses, so that the neighbours keep theirs.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self.failed: Dict[int, ServerError] = {}

    def __len__(self) -> int:
        return self._tensor.shape[0]

    def sizes(self) -> List[int]:
        """The bytes of each sample."""
        return [self._tensor.row_bytes] * len(self)

    def fail(self, place: int, error: ServerError) -> None:
        """Keeps a sample from being scored."""
        self.failed.setdefault(place, error)

    def take(self, places: Sequence[int]) -> Union[Tensor, List[Image]]:
        """The named samples as a request holds them."""
        if not any(place in self.failed for place in places):
            return self._tensor.gather(places)
        if self._tensor.type == "|u1":
            return [_EMPTY if place in self.failed else self._tensor.row(place) for place in places]
        copy = bytearray(self._tensor.gather(places).data)
        size = self._tensor.row_bytes
        for i, place in enumerate(places):
            if place in self.failed:
                copy[i * size : (i + 1) * size] = b"\xff" * size  # NaN in every type of floats
        return Tensor(self._tensor.type, (len(places), *self._tensor.shape[1:]), memoryview(copy))


class ImageList:
    """Images one by one, of any sizes.

    ``failed`` holds those that could not be read here. In their place an empty
    file travels, so that the neighbours keep theirs.
    """

    def __init__(self, images: Sequence[Any], clamp: bool = True) -> None:
        self.failed: Dict[int, ServerError] = {}
        self._images = [self._image(i, image, clamp) for i, image in enumerate(images)]

    def _image(self, place: int, image: Any, clamp: bool) -> Image:
        if _is_pil(image):
            return self._pil(place, image)
        if image_source.is_source(image):
            return self._file(place, image, clamp)
        if not is_array(image):
            kinds = "an array, a tensor, a PIL image, a file's bytes, a path or an open file"
            raise TypeError(f"image {place}: want {kinds}, got {type(image).__name__}")
        return self._array(place, image, clamp)

    def _array(self, place: int, image: Any, clamp: bool) -> Image:
        tensor = _image_tensor(image, 3, f"image {place}")
        wrong = None if clamp else _range_fault(tensor)
        return tensor if wrong is None else self._failed(place, PixelRangeError(f"image {place}: {wrong}"))

    def _file(self, place: int, source: Any, clamp: bool) -> Image:
        try:
            image = image_source.read(source)
        except (OSError, ValueError) as e:
            return self._failed(place, ImageCorruptError(f"image {place}: {e}"))
        if isinstance(image, memoryview):
            return image
        try:
            return self._array(place, image, clamp)
        except ValueError as e:  # it names the image
            return self._failed(place, ImageUnsupportedError(str(e)))

    def _pil(self, place: int, image: Any) -> Image:
        if image.mode.startswith(_RANGELESS_MODES):
            remedy = 'convert it to "RGB" with the range it has'
            return self._failed(place, ImageCorruptError(f"image {place}: mode {image.mode!r} does not say what is white; {remedy}"))
        if 0 in image.size:
            return self._failed(place, ImageCorruptError(f"image {place}: {image.width}x{image.height} pixels"))
        try:
            return pack(np.asarray(image.convert("RGB")), "|u1")
        except MemoryError:
            raise
        except Exception as e:  # Pillow reads late, and each plugin has errors of its own
            return self._failed(place, ImageCorruptError(f"image {place}: {type(e).__name__}: {e}"))

    def _failed(self, place: int, error: ServerError) -> Image:
        self.failed[place] = error
        return _EMPTY

    def __len__(self) -> int:
        return len(self._images)

    def sizes(self) -> List[int]:
        """The bytes of each sample."""
        return [len(p.data) if isinstance(p, Tensor) else len(p) for p in self._images]

    def fail(self, place: int, error: ServerError) -> None:
        """Keeps a sample from being scored."""
        if place not in self.failed:
            self._images[place] = self._failed(place, error)

    def take(self, places: Sequence[int]) -> List[Image]:
        """The named samples as a request holds them."""
        return [self._images[i] for i in places]


Samples = Union[Stack, ImageList]


def from_images(images: Any, clamp: bool = True) -> Samples:
    """Images of any accepted kind: an array (N,h,w,3) or (N,3,h,w), or a
    sequence of images. Unless clamped, those whose floats are not in [0,1] fail."""
    if _is_pil(images) or isinstance(images, (bytes, bytearray, memoryview, str, os.PathLike)) or hasattr(images, "read"):
        raise TypeError("images: want a sequence of images; for one image give [image]")
    if is_array(images):
        return _image_stack(images, clamp)
    images = list(images)
    if _share_a_device(images):
        return _image_stack(_stack(images), clamp)
    return ImageList(images, clamp)


def from_latents(latents: Any) -> Stack:
    """Latents (N,C,h,w) or (N,C,1,h,w), or packed (N,L,D), of floats; or a list of N tensors."""
    if isinstance(latents, (list, tuple)):
        latents = _stack(latents)
    array, name = host_array(latents)
    if name not in FLOATS or array.ndim not in (3, 4, 5) or array.size == 0:
        raise ValueError(f"latents: want floats of shape (N,C,h,w), (N,C,1,h,w) or (N,L,D), got {array.dtype} {array.shape}")
    return Stack(pack(array, name))


def _image_stack(images: Any, clamp: bool) -> Stack:
    tensor = _image_tensor(images, 4, "images")
    stack = Stack(tensor)
    for i in range(0 if clamp or tensor.type not in FLOATS else len(stack)):
        wrong = _range_fault(tensor.row(i))
        if wrong is not None:
            stack.fail(i, PixelRangeError(f"image {i}: {wrong}"))
    return stack


def _range_fault(image: Tensor) -> Optional[str]:
    return pixel_range.fault(numpy_view(image)) if image.type in FLOATS else None


def _image_tensor(image: Any, rank: int, what: str) -> Tensor:
    array, name = host_array(image)
    want = "(h,w,3) or (3,h,w)" if rank == 3 else "(N,h,w,3) or (N,3,h,w)"
    if array.ndim != rank or 3 not in (array.shape[-1], array.shape[-3]) or array.size == 0:
        raise ValueError(f"{what}: want shape {want}, got {array.shape}")
    if name not in IMAGE_TYPES:
        remedy = ": levels of 0 to 255 become uint8 by astype" if array.dtype.kind in "iu" else ""
        raise ValueError(f"{what}: want uint8 levels or floats in [0,1], got {array.dtype}{remedy}")
    if not array.flags.c_contiguous and array.shape[-1] != 3:
        # Channels-last memory behind a channels-first shape travels as it lies.
        last = np.moveaxis(array, -3, -1)
        if last.flags.c_contiguous:
            array = last
    return pack(array, name)


def _stack(tensors: Sequence[Any]) -> Any:
    """Arrays or tensors of one shape as one array or tensor."""
    if len(tensors) > 0 and all(is_torch(x) for x in tensors):
        import torch

        return torch.stack([x.detach() for x in tensors])
    return np.stack([numpy_array(x) for x in tensors])


def _share_a_device(images: Sequence[Any]) -> bool:
    """Whether images are tensors of one shape and type on one accelerator, which
    come to the host in a single copy when they are stacked there."""
    if not images or not all(is_torch(x) for x in images) or images[0].device.type == "cpu":
        return False
    first = images[0]
    return all(x.shape == first.shape and x.dtype == first.dtype and x.device == first.device for x in images)


def _is_pil(value: object) -> bool:
    return any(c.__module__ == "PIL.Image" and c.__name__ == "Image" for c in type(value).__mro__)
