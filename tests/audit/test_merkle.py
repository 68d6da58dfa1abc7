"""The tree of RFC 6962, against its own definition by recursion, and the proofs of every leaf."""

import hashlib

import pytest

from pipeline.audit.merkle import EMPTY_ROOT, path_to, root_from, root_of

LEAVES = [hashlib.sha256(b"\0" + bytes([number])).digest() for number in range(33)]


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1: split at the largest power of two below the number of leaves."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while 2 * half < len(leaves):
        half *= 2
    return hashlib.sha256(b"\1" + by_definition(leaves[:half]) + by_definition(leaves[half:])).digest()


@pytest.mark.parametrize("size", range(34))
def test_the_root_is_that_of_the_definition(size: int) -> None:
    assert root_of(LEAVES[:size]) == by_definition(LEAVES[:size])


def test_the_example_of_the_standard() -> None:
    """The root of the empty leaf alone, known from implementations of Certificate Transparency."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_of([hashlib.sha256(b"\0").digest()]).hex().startswith("6e340b9cffb37a98")


@pytest.mark.parametrize("size", range(1, 34))
def test_every_leaf_has_a_proof_and_only_that(size: int) -> None:
    leaves = LEAVES[:size]
    root = root_of(leaves)
    for index, leaf in enumerate(leaves):
        path = path_to(leaves, index)
        assert len(path) <= 6
        assert root_from(leaf, index, size, path) == root
        assert root_from(LEAVES[(index + 1) % 33], index, size, path) != root
        assert root_from(leaf, index, size, [*path, leaf]) is None
        assert not path or root_from(leaf, index, size, path[:-1]) is None
        assert not path or root_from(leaf, index, size, [path[0][::-1], *path[1:]]) != root
    assert root_from(leaves[0], size, size, []) is None
    with pytest.raises(IndexError):
        path_to(leaves, size)
