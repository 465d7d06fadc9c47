"""Arrays as they travel: row major, little-endian, with their type by name.

numpy arrays and torch tensors become `Tensor` without a copy where their memory
already has that form. torch is never imported here: a tensor is known by its
class, and its module is loaded by then.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

#: The element types that travel, by the name that numpy writes in a dtype's str,
#: and bfloat16, which numpy does not have; with the bytes of one element.
ELEMENT_BYTES = {
    "|b1": 1,
    "|i1": 1,
    "|u1": 1,
    "<i2": 2,
    "<u2": 2,
    "<i4": 4,
    "<u4": 4,
    "<i8": 8,
    "<u8": 8,
    "<f2": 2,
    "bfloat16": 2,
    "<f4": 4,
    "<f8": 8,
}

FLOATS = ("<f2", "bfloat16", "<f4")


class Tensor(NamedTuple):
    """A dense array on its way to a server. ``data`` is one-dimensional bytes
    and may be the caller's own memory."""

    type: str
    shape: Tuple[int, ...]
    data: memoryview

    @property
    def row_bytes(self) -> int:
        """The bytes of one element along the first dimension."""
        return len(self.data) // self.shape[0]

    def rows(self, start: int, stop: int) -> "Tensor":
        """Elements start to stop of the first dimension, in the same memory."""
        size = self.row_bytes
        return Tensor(self.type, (stop - start, *self.shape[1:]), self.data[start * size : stop * size])

    def row(self, i: int) -> "Tensor":
        """Element i of the first dimension, in the same memory."""
        size = self.row_bytes
        return Tensor(self.type, self.shape[1:], self.data[i * size : (i + 1) * size])

    def gather(self, places: Sequence[int]) -> "Tensor":
        """The named elements of the first dimension; a copy unless they follow
        each other."""
        if list(places) == list(range(places[0], places[0] + len(places))):
            return self.rows(places[0], places[0] + len(places))
        data = b"".join(self.row(i).data for i in places)
        return Tensor(self.type, (len(places), *self.shape[1:]), memoryview(data))


def is_torch(value: object) -> bool:
    """Whether value is a torch tensor, of a subclass too, without importing torch."""
    return any(c.__name__ == "Tensor" and c.__module__.partition(".")[0] == "torch" for c in type(value).__mro__)


def is_array(value: object) -> bool:
    """Whether value is a torch tensor, a numpy array, or converts itself to one.

    PIL images convert themselves as well, which loses their colour mode:
    callers look for them first.
    """
    return is_torch(value) or isinstance(value, np.ndarray) or hasattr(value, "__array__")


def numpy_array(value: Any) -> NDArray[Any]:
    """An array-like on the host as a numpy array, ValueError where values are masked: without its mask such an array shows what it was to hide."""
    if isinstance(value, np.ma.MaskedArray) and np.any(value.mask):
        raise ValueError("some values are masked: fill them first, as array.filled(0) does")
    return np.asarray(value)


def host_array(value: Any) -> Tuple[NDArray[Any], str]:
    """An array-like as a numpy array with the name of its type on the wire.

    A tensor on a device is copied to the host. bfloat16 comes as its bits, in
    int16. float64 of any byte order becomes float32, which is all that images and latents
    have.
    """
    if is_torch(value):
        return _torch_array(value)
    array = numpy_array(value)
    if array.dtype.name == "bfloat16":  # of ml_dtypes, as JAX has it
        return array.view(np.int16), "bfloat16"
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        array = array.astype(np.float32)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return array, array.dtype.str


def _torch_array(value: Any) -> Tuple[NDArray[Any], str]:
    torch = sys.modules["torch"]
    value = value.detach()
    if value.dtype == torch.float64:
        value = value.float()
    value = value.cpu()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy(), "bfloat16"
    array: NDArray[Any] = value.numpy()
    return array, array.dtype.str


def pack(array: NDArray[Any], type_name: str) -> Tensor:
    """A host array as a tensor, copied only if its memory is not row major."""
    array = np.ascontiguousarray(array)
    return Tensor(type_name, array.shape, array.reshape(-1).view(np.uint8).data)


def numpy_view(tensor: Tensor) -> NDArray[Any]:
    """A tensor of floats as an array of its values: over the same memory, but for
    bfloat16."""
    if tensor.type == "bfloat16":
        bits = np.frombuffer(tensor.data, np.uint16).reshape(tensor.shape)
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(tensor.data, tensor.type).reshape(tensor.shape)


def to_torch(array: Any) -> Any:
    """A writable numpy array as a torch tensor over the same memory."""
    import torch

    return torch.from_numpy(array)
