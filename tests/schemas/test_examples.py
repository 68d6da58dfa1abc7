"""The named examples: each decodes as its folder says, and the JSON Schema says the same."""

from pathlib import Path

import pytest

from pipeline.domain.record import decode

from .publisher import EXAMPLES, TYPES, accepts
from .test_json_schemas import CLASSES

EXAMPLE_FILES = sorted(path.relative_to(EXAMPLES) for kind in TYPES for path in (EXAMPLES / kind).glob("*/*"))


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=str)
def test_an_example_is_what_its_folder_says(path: Path) -> None:
    record_type, verdict, _ = path.parts
    value = (EXAMPLES / path).read_bytes()
    record = decode(value)
    if verdict == "accepted":
        assert type(record) is CLASSES[record_type]
    else:
        assert (verdict, record) == ("rejected", None)
    assert accepts(value) == (verdict == "accepted")


def test_there_are_examples_of_both_kinds_for_each_type() -> None:
    folders = {path.parts[:2] for path in EXAMPLE_FILES}
    assert folders == {(kind, verdict) for kind in TYPES for verdict in ("accepted", "rejected")}
    assert len(EXAMPLE_FILES) > 200


def test_examples_are_named_for_what_they_show() -> None:
    for path in EXAMPLE_FILES:
        assert path.suffix == ".json"
        assert path.stem == path.stem.lower()
        assert "_" not in path.stem
