"""The publisher's side of a record: strict JSON, then the schema of its type. It shares nothing with the decoder."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import regress
from jsonschema import Draft202012Validator, ValidationError, validators

SCHEMAS = Path(__file__).parents[2] / "schemas"
EXAMPLES = SCHEMAS / "examples"
TYPES = ("vote", "poll.opened", "poll.closed", "poll.final", "votes.voided", "votes.reinstated")

# What no JSON Schema can say; schemas/README.md tells publishers of each.
MAX_VALUE_BYTES = 131_072
MAX_BRACKETS = 512


def _ecma_pattern(_: object, pattern: str, instance: object, __: object) -> Iterator[ValidationError]:
    """Match as JSON Schema says, by ECMA-262: Python's own `$` would let a line break pass at the end."""
    if isinstance(instance, str) and regress.Regex(pattern, "u").find(instance) is None:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_extend: Any = validators.extend  # untyped in the stubs
_Validator = _extend(Draft202012Validator, {"pattern": _ecma_pattern})


def load_schema(record_type: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / "json" / f"{record_type}.schema.json").read_text("utf-8"))
    return schema


VALIDATORS = {record_type: _Validator(load_schema(record_type)) for record_type in TYPES}


def accepts(value: bytes | None) -> bool:
    """Tell whether a careful publisher would send this value."""
    try:
        record = read_json(value)
    except ValueError:
        return False
    record_type = record.get("type") if isinstance(record, dict) else None
    if not isinstance(record_type, str) or record_type not in VALIDATORS:
        return False
    return bool(VALIDATORS[record_type].is_valid(record)) and _has_distinct_options(record)


def read_json(value: bytes | None) -> Any:
    """Read JSON as RFC 8259 has it, with the limits of a value. 1.0 stays apart from 1.

    Raises:
        ValueError: it is none.
    """
    if not value or len(value) > MAX_VALUE_BYTES or value.count(b"{") + value.count(b"[") > MAX_BRACKETS:
        raise ValueError("empty, too long or too deep")
    text = value.decode("utf-8")
    json.dumps(json.loads(text, parse_int=_finite, parse_float=_finite), ensure_ascii=False).encode("utf-8")
    return json.loads(text, parse_float=Decimal, parse_constant=_refuse)


def _finite(number: str) -> float:
    if math.isinf(float(number)):
        raise ValueError(f"{number[:20]} does not fit a double")
    return 0.0


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _has_distinct_options(record: dict[str, Any]) -> bool:
    """Hold the one rule of an opening marker that its schema cannot say."""
    if record["type"] != "poll.opened":
        return True
    ids = [option["id"] for option in record["options"]]
    return len(set(ids)) == len(ids)
