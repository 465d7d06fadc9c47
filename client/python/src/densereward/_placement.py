"""Which server a group belongs to, in a way that all clients share."""

from __future__ import annotations

from typing import Sequence, Tuple

MASK = (1 << 64) - 1


def hash64(text: str) -> int:
    """FNV-1a of 64 bits, and then murmur3's finalizer: without it addresses that differ in
    their last digit would not get even shares."""
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * multiplier & MASK
    return h ^ h >> 33


def rank(key: str, address: str) -> int:
    """Orders servers for a key, the lowest first (rendezvous hashing). Clients must be given
    the same addresses."""
    return hash64(f"{key}\0{address}")


def order(key: str, addresses: Sequence[str]) -> Tuple[str, ...]:
    """The servers of a key, that which its requests should meet at first."""
    return tuple(sorted(addresses, key=lambda address: rank(key, address)))


def header(key: str) -> str:
    """The key as a header carries it."""
    return f"{hash64(key):016x}"
