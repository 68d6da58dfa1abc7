"""What is hashed of a record: everything, unambiguously. ``tests.archive.test_digests`` holds SQL to the same."""

from pipeline.audit.leaf import leaf_bytes, leaves_of
from pipeline.domain.batch import Headers, RecordBatch

HEADERS: list[Headers] = [(), (("a", None),), (("b\u00e9", b"\xff\0:"), ("", b"")), (("1:", b"-"), ("-", b"1:"))]
TEXTS = [None, b"", b"-", b"1:", b":", b"\0", b"\xff\xfe", b'{"type":"vote"}', b"x" * 5_000]


def records() -> RecordBatch:
    keys = [text for text in TEXTS for _ in TEXTS]
    values = [text for _ in TEXTS for text in TEXTS]
    size = len(keys)
    headers = [HEADERS[number % len(HEADERS)] for number in range(size)]
    return RecordBatch.of("votes", 3, 95, [1_767_297_600_000 + 997 * n for n in range(size)], keys, values, headers)


def test_no_two_records_have_the_same_bytes() -> None:
    batch = records()
    assert len(set(leaves_of(batch))) == len(batch)
    one = leaf_bytes(1, 23, 4, b"k", b"v", ())
    others = [
        leaf_bytes(12, 3, 4, b"k", b"v", ()),
        leaf_bytes(1, 23, 4, b"k:1", b"v", ()),
        leaf_bytes(1, 2, 34, b"k", b"v", ()),
    ]
    assert one not in others
    assert leaf_bytes(0, 0, 0, None, b"", ()) != leaf_bytes(0, 0, 0, b"", None, ())
    assert one == b"\x001:23:4:1:k:1:v:"
