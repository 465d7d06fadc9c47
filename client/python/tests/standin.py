"""A module with the part of torch's interface that this package uses.

Tensors hold a numpy array; bfloat16 holds its bits. A tensor on the pretended
device "cuda" refuses `numpy()`, as a real one does.
"""

import types

import numpy as np

torch = types.ModuleType("torch")

BITS = "bfloat16"
NAMES = ("uint8", "int16", "int64", "float16", "bfloat16", "float32", "float64", "bool")


class DType:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"torch.{self.name}"


for _name in NAMES:
    setattr(torch, _name, DType(_name))


class Device:
    def __init__(self, type):
        self.type = getattr(type, "type", type)

    def __eq__(self, other):
        return self.type == other.type


def _widen(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _narrow(floats):
    """float32 to bfloat16's bits, to nearest, halves to even."""
    bits = np.ascontiguousarray(floats, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class Tensor:
    def __init__(self, array, dtype=None, device="cpu"):
        self._array = np.asarray(array)
        self.dtype = dtype or getattr(torch, self._array.dtype.name)
        self.device = Device(device)

    @property
    def shape(self):
        return self._array.shape

    def _like(self, array, dtype=None):
        return Tensor(array, dtype or self.dtype, self.device)

    def _values(self):
        return _widen(self._array) if self.dtype is torch.bfloat16 else self._array

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self._array, self.dtype)

    def numpy(self):
        if self.device.type != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if self.dtype is torch.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._array

    def view(self, dtype):
        assert self.dtype is torch.bfloat16 and dtype is torch.int16
        return self._like(self._array.view(np.int16), torch.int16)

    def permute(self, *axes):
        return self._like(self._array.transpose(axes))

    def to(self, *args, device=None, dtype=None):
        for a in args:
            if isinstance(a, DType):
                dtype = a
            else:
                device = a
        array, kind = self._array, dtype or self.dtype
        if dtype is torch.bfloat16:
            array = _narrow(self._values())
        elif dtype is not None:
            array = self._values().astype(dtype.name)
        return Tensor(array, kind, self.device if device is None else device)

    def float(self):
        return self.to(torch.float32)

    def __mul__(self, number):
        product = self._values() * np.float32(number)
        if self.dtype is torch.bfloat16:
            return self._like(_narrow(product))
        return self._like(product.astype(self._array.dtype))

    def __rsub__(self, number):
        return self._like(np.asarray(number, self._array.dtype) - self._array)

    def round(self):
        return self._like(np.rint(self._array))

    def clamp(self, low, high):
        return self._like(np.clip(self._array, low, high))

    def min(self):
        return self._like(self._values().min())

    def max(self):
        return self._like(self._values().max())

    def item(self):
        return self._values().item()

    def __float__(self):
        return float(self._values())

    def __iter__(self):
        return (self._like(a) for a in self._array)

    def __getitem__(self, key):
        return self._like(self._array[key])

    def __len__(self):
        return len(self._array)

    def tolist(self):
        return self._values().tolist()


Tensor.__module__ = "torch"


class _NoGrad:
    def __call__(self, function):
        return function


def stack(tensors):
    first = tensors[0]
    return first._like(np.stack([t._array for t in tensors]))


torch.Tensor = Tensor
torch.device = Device
torch.stack = stack
torch.no_grad = _NoGrad
torch.from_numpy = lambda array: Tensor(array)
torch.as_tensor = lambda data, dtype=None: data if isinstance(data, Tensor) else Tensor(np.asarray(data, dtype=dtype and dtype.name))
torch.tensor = lambda data, dtype=None, device="cpu": Tensor(np.array(data, dtype=dtype and dtype.name), device=device)
