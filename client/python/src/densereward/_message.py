"""Requests as msgpack, without copying the images in them."""

from __future__ import annotations

import struct
from typing import Any, Iterator, List, Union

import msgpack

from ._tensor import Tensor

#: Bytes from which data is borrowed from the caller rather than copied.
BORROW_BYTES = 2048

Run = Union[bytes, memoryview]


class Message:
    """An encoded request. Its runs, in order, are its bytes; images among them
    are the caller's own memory."""

    def __init__(self, value: Any) -> None:
        writer = _Writer()
        writer.write(value)
        self.runs: List[Run] = writer.finish()
        self.size: int = sum(len(run) for run in self.runs)

    def copied(self) -> "Message":
        """This message in memory of its own, which the caller's arrays no longer share."""
        self.runs = [bytes(self)]
        return self

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __bytes__(self) -> bytes:
        return b"".join(self.runs)


class _Writer:
    def __init__(self) -> None:
        self._packer = msgpack.Packer(use_bin_type=True)
        self._heads = bytearray()
        self._runs: List[Run] = []

    def write(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, (bytes, memoryview)):
            self._bin(value)
        elif isinstance(value, dict):
            self._heads += self._packer.pack_map_header(len(value))
            for key, item in value.items():
                self.write(key)
                self.write(item)
        elif isinstance(value, (list, tuple)):
            self._heads += self._packer.pack_array_header(len(value))
            for item in value:
                self.write(item)
        else:
            self._heads += self._packer.pack(value)

    def _tensor(self, tensor: Tensor) -> None:
        """The map that msgpack-numpy writes."""
        self.write({b"nd": True, b"type": tensor.type, b"kind": b"", b"shape": tensor.shape, b"data": tensor.data})

    def _bin(self, data: Run) -> None:
        n = len(data)
        if n < 1 << 8:
            self._heads += struct.pack(">BB", 0xC4, n)
        elif n < 1 << 16:
            self._heads += struct.pack(">BH", 0xC5, n)
        elif n < 1 << 32:
            self._heads += struct.pack(">BI", 0xC6, n)
        else:
            raise ValueError(f"{n} bytes in one value: msgpack holds at most 4 GiB")
        if n < BORROW_BYTES:
            self._heads += data
        else:
            self._flush()
            self._runs.append(data)

    def _flush(self) -> None:
        if self._heads:
            self._runs.append(bytes(self._heads))
            self._heads.clear()

    def finish(self) -> List[Run]:
        self._flush()
        return self._runs
