"""The JSON Schemas themselves: valid, complete and explained."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec import UNSET

from pipeline.domain import record

from .publisher import SCHEMAS, TYPES, VALIDATORS, load_schema

CLASSES = {"vote": record.Vote, "poll.opened": record.PollOpened, "poll.closed": record.PollClosed}
CLASSES |= {"poll.final": record.PollFinal, "votes.voided": record.VotesVoided}
CLASSES |= {"votes.reinstated": record.VotesReinstated}


def every_object(schema: Any) -> list[dict[str, Any]]:
    """Give each JSON object inside a schema, itself included."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    return [found for part in inner for found in every_object(part)] + ([schema] if isinstance(schema, dict) else [])


def test_there_is_a_schema_for_each_record_type() -> None:
    assert {path.name for path in (SCHEMAS / "json").iterdir()} == {f"{name}.schema.json" for name in TYPES}


@pytest.mark.parametrize("record_type", TYPES)
def test_a_schema_is_valid_by_its_metaschema(record_type: str) -> None:
    schema = load_schema(record_type)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["$id"] == f"{record_type}.schema.json"


@pytest.mark.parametrize("record_type", TYPES)
def test_a_schema_names_the_fields_that_the_decoder_knows(record_type: str) -> None:
    schema, kind = load_schema(record_type), CLASSES[record_type]
    assert set(schema["properties"]) == {"type", *kind.__struct_fields__}
    optional = len(kind.__struct_defaults__)
    assert schema["required"] == ["type", *kind.__struct_fields__[: len(kind.__struct_fields__) - optional]]
    defaults = {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
    known = dict(zip(kind.__struct_fields__[::-1], kind.__struct_defaults__[::-1], strict=False))
    assert defaults == {name: value for name, value in known.items() if value is not UNSET}  # unset: there is none


@pytest.mark.parametrize("record_type", TYPES)
def test_everything_is_explained_and_anchored(record_type: str) -> None:
    schema = load_schema(record_type)
    assert schema["title"]
    assert schema["description"]
    for part in every_object(schema):
        for name, field in part.get("properties", {}).items():
            assert len(field.get("description", "")) > 20, f"{name} is not explained"
        if isinstance(pattern := part.get("pattern"), str):
            assert (pattern[0], pattern[-1]) == ("^", "$")


@pytest.mark.parametrize("record_type", TYPES)
def test_the_examples_in_a_schema_are_valid(record_type: str) -> None:
    for example in load_schema(record_type)["examples"]:
        VALIDATORS[record_type].validate(example)


def test_equal_definitions_are_equal() -> None:
    """A schema stands alone, so each repeats what an id is: they must not drift apart."""
    definitions: dict[str, Any] = {}
    for record_type in TYPES:
        for name, definition in load_schema(record_type).get("$defs", {}).items():
            assert definitions.setdefault(name, definition) == definition
