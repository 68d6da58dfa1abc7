"""The AsyncAPI document: valid by the schema of AsyncAPI where npm can fetch that, whole and in step with the code."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from pipeline.settings import Settings

from .publisher import SCHEMAS, TYPES, load_schema
from .test_json_schemas import every_object

DOCUMENT: dict[str, Any] = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text("utf-8"))
SPECS = "@asyncapi/specs@6.11.1"  # the JSON Schemas of the AsyncAPI Initiative; on npm only


@pytest.fixture(scope="module")
def metaschema(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Fetch the JSON Schema of AsyncAPI 3.0.0, once: it is kept in pytest's cache, where there is one."""
    cache = getattr(request.config, "cache", None)
    folder: Path = cache.mkdir("asyncapi") if cache else tmp_path_factory.mktemp("asyncapi")
    path = folder / "node_modules/@asyncapi/specs/schemas/3.0.0.json"
    if not path.exists():
        _install(folder)
    schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return schema


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        _give_up("npm is not installed, and only npm has the JSON Schema of AsyncAPI")
    command = [str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), SPECS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    if done.returncode:
        _give_up(f"npm could not fetch {SPECS}: {done.stderr[-300:]}")


def _give_up(reason: str) -> None:
    """Skip on a laptop, fail in CI: there it must not go unnoticed that nothing was checked."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def test_the_document_is_valid(metaschema: dict[str, Any]) -> None:
    Draft7Validator(metaschema).validate(DOCUMENT)
    without_channels = {name: part for name, part in DOCUMENT.items() if name != "info"}
    assert not Draft7Validator(metaschema).is_valid(without_channels)  # the check can fail


def test_every_reference_leads_somewhere() -> None:
    references = [part["$ref"] for part in every_object(DOCUMENT) if "$ref" in part]
    assert len(references) > 15
    for reference in references:
        file, _, pointer = reference.partition("#")
        if file:
            assert (SCHEMAS / file).is_file(), reference
            continue
        part: Any = DOCUMENT
        for name in pointer.strip("/").split("/"):
            part = part[name]


def test_there_is_a_message_for_each_record_type() -> None:
    messages = DOCUMENT["components"]["messages"].values()
    assert [message["name"] for message in messages] == list(TYPES)
    for message in messages:
        assert message["payload"]["schema"]["$ref"] == f"json/{message['name']}.schema.json"


def test_the_key_of_a_vote_is_its_voter() -> None:
    key = DOCUMENT["components"]["messages"]["vote"]["bindings"]["kafka"]["key"]
    assert key["pattern"] == load_schema("vote")["properties"]["voter_id"]["pattern"]


def test_the_topic_is_the_one_that_the_settings_make() -> None:
    fields, topic = Settings.model_fields, DOCUMENT["channels"]["votes"]["bindings"]["kafka"]
    assert topic["topic"] == DOCUMENT["channels"]["votes"]["address"] == fields["topic"].default
    assert topic["partitions"] == fields["partitions"].default
    configuration = topic["topicConfiguration"]
    assert configuration["retention.ms"] == fields["retention_ms"].default
    assert configuration["cleanup.policy"] == ["delete"]
    assert configuration["message.timestamp.type"] == "LogAppendTime"
