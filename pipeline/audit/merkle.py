"""The hash tree over a partition's records, as RFC 6962 (Certificate Transparency, 2.1) defines it.

One root of 32 bytes stands for all records. That a record is among them is shown by some twenty hashes, without the others.
"""

import hashlib
from collections.abc import Iterator, Sequence

EMPTY_ROOT = hashlib.sha256().digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Give the root over leaf hashes. The tree of none has the hash of nothing."""
    level = list(leaves)
    while len(level) > 1:
        level = _above(level)
    return level[0] if level else EMPTY_ROOT


def path_to(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Give the inclusion proof of a leaf: the sibling on each level that has one, from the bottom up.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    path, level = [], list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level, index = _above(level), index // 2
    return path


def root_from(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Give the root that a proof leads to, for leaf `index` of `size`. None: the path has not the length that it must have."""
    if not 0 <= index < size:
        return None
    siblings: Iterator[bytes] = iter(path)
    node, last = leaf, size - 1
    while last:
        if index % 2 or index < last:
            sibling = next(siblings, None)
            if sibling is None:
                return None
            node = _node(sibling, node) if index % 2 else _node(node, sibling)
        index, last = index // 2, last // 2
    return node if next(siblings, None) is None else None


def _above(level: list[bytes]) -> list[bytes]:
    """A node without a sibling moves up as it is."""
    pairs = [_node(level[first], level[first + 1]) for first in range(0, len(level) - 1, 2)]
    return [*pairs, level[-1]] if len(level) % 2 else pairs


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
