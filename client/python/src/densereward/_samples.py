"""What a caller hands in, images or latents, as parts of requests."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Union

import numpy as np

from ._errors import ImageCorruptError, ServerError
from ._tensor import FLOATS, Tensor, host_array, is_array, is_torch, pack

IMAGE_TYPES = ("|u1", *FLOATS)

#: One image: the bytes of a file, or a tensor (h,w,3) or (3,h,w).
Image = Union[memoryview, Tensor]


class Stack:
    """Samples in one array: the first dimension counts them."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self.failed: Dict[int, ServerError] = {}

    def __len__(self) -> int:
        return self._tensor.shape[0]

    def sizes(self) -> List[int]:
        """The bytes of each sample."""
        return [self._tensor.row_bytes] * len(self)

    def take(self, places: Sequence[int]) -> Tensor:
        """The named samples as a request holds them."""
        return self._tensor.gather(places)


class ImageList:
    """Images one by one, of any sizes.

    ``failed`` holds those that could not be read here. In their place an empty
    file travels, so that the neighbours keep theirs.
    """

    def __init__(self, images: Sequence[Any]) -> None:
        self.failed: Dict[int, ServerError] = {}
        self._images = [self._image(i, image) for i, image in enumerate(images)]

    def _image(self, place: int, image: Any) -> Image:
        if _is_pil(image):
            try:
                return pack(np.asarray(image.convert("RGB")), "|u1")
            except OSError as e:  # PIL reads files late: a cut one shows here
                self.failed[place] = ImageCorruptError(f"image {place}: {e}")
                return memoryview(b"")
        if isinstance(image, (bytes, bytearray, memoryview)):
            return memoryview(image).cast("B")
        if is_array(image):
            return _image_tensor(image, 3, f"image {place}")
        raise TypeError(f"image {place}: want an array, a tensor, a PIL image or a file's bytes, got {type(image).__name__}")

    def __len__(self) -> int:
        return len(self._images)

    def sizes(self) -> List[int]:
        """The bytes of each sample."""
        return [len(p.data) if isinstance(p, Tensor) else len(p) for p in self._images]

    def take(self, places: Sequence[int]) -> List[Image]:
        """The named samples as a request holds them."""
        return [self._images[i] for i in places]


Samples = Union[Stack, ImageList]


def from_images(images: Any) -> Samples:
    """Images of any accepted kind: an array (N,h,w,3) or (N,3,h,w), or a
    sequence of images."""
    if _is_pil(images) or isinstance(images, (bytes, bytearray, memoryview, str)):
        raise TypeError("images: want a sequence of images; for one image give [image]")
    if is_array(images):
        return Stack(_image_tensor(images, 4, "images"))
    images = list(images)
    if _share_a_device(images):
        return Stack(_image_tensor(_stack(images), 4, "images"))
    return ImageList(images)


def from_latents(latents: Any) -> Stack:
    """Latents (N,C,h,w), or packed (N,L,D), of floats; or a list of N tensors."""
    if isinstance(latents, (list, tuple)):
        latents = _stack(latents)
    array, name = host_array(latents)
    if name not in FLOATS or array.ndim not in (3, 4) or array.size == 0:
        raise ValueError(f"latents: want floats of shape (N,C,h,w) or (N,L,D), got {array.dtype} {array.shape}")
    return Stack(pack(array, name))


def _image_tensor(image: Any, rank: int, what: str) -> Tensor:
    array, name = host_array(image)
    want = "(h,w,3) or (3,h,w)" if rank == 3 else "(N,h,w,3) or (N,3,h,w)"
    if array.ndim != rank or 3 not in (array.shape[-1], array.shape[-3]) or array.size == 0:
        raise ValueError(f"{what}: want shape {want}, got {array.shape}")
    if name not in IMAGE_TYPES:
        raise ValueError(f"{what}: want uint8 levels or floats in [0,1], got {array.dtype}")
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
    return np.stack([np.asarray(x) for x in tensors])


def _share_a_device(images: Sequence[Any]) -> bool:
    """Whether images are tensors of one shape and type on one accelerator, which
    come to the host in a single copy when they are stacked there."""
    if not images or not all(is_torch(x) for x in images) or images[0].device.type == "cpu":
        return False
    first = images[0]
    return all(x.shape == first.shape and x.dtype == first.dtype and x.device == first.device for x in images)


def _is_pil(value: object) -> bool:
    return any(c.__module__ == "PIL.Image" and c.__name__ == "Image" for c in type(value).__mro__)
