"""The topic is made rightly, and a topic that would be counted wrongly is refused with its remedy."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.protocol.admin import CreateAclsRequest

from pipeline.errors import TopicMismatchError, UnavailableError
from pipeline.local.parts import Options, Part
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack
from pipeline.log.topics import Topics, TopicShape, differences, open_topics, wanted
from pipeline.settings import Settings

# Kafka's numbers (AclOperation, AclPermissionType, ResourceType, PatternType).
ALL, DESCRIBE_CONFIGS = 2, 10
DENY, ALLOW = 2, 3
TOPIC, LITERAL = 2, 3
WAIT_S = 20.0

SETTINGS = Settings(kafka="127.0.0.1:1", topic="votes", partitions=12, replication=3, min_insync=2)


def shape(partitions: int = 12, replication: int = 3, **config: str) -> TopicShape:
    changed = {key.replace("_", "."): value for key, value in config.items()}
    return TopicShape(partitions, replication, {**wanted(SETTINGS).config, **changed})


def test_what_is_wanted_has_no_differences() -> None:
    assert differences(SETTINGS, wanted(SETTINGS)) == []
    assert differences(SETTINGS, shape(retention_ms="60000")) == []  # the operator's to choose
    assert differences(SETTINGS, shape(replication=4, min_insync_replicas="3")) == []  # safer than was asked for


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (shape(partitions=8), "AIRTALLY_PARTITIONS=8"),
        (shape(message_timestamp_type="CreateTime"), "message.timestamp.type=LogAppendTime"),
        (shape(cleanup_policy="compact"), "cleanup.policy=delete"),
        (shape(cleanup_policy="compact,delete"), "cleanup.policy=delete"),
        (shape(unclean_leader_election_enable="true"), "unclean.leader.election.enable=false"),
        (shape(replication=2), "AIRTALLY_REPLICATION=2"),
        (shape(min_insync_replicas="1"), "min.insync.replicas=2, or set AIRTALLY_MIN_INSYNC=1"),
    ],
)
def test_a_difference_is_named_with_its_remedy(found: TopicShape, named: str) -> None:
    (line,) = differences(SETTINGS, found)
    assert named in line


@pytest.mark.real
async def test_a_topic_is_made_once_and_found_as_it_was_made(found: Settings) -> None:
    async with open_topics(found) as topics:
        with pytest.raises(TopicMismatchError, match="airtally init"):
            await topics.check()
        assert await topics.create()
        assert not await topics.create()
        await topics.check()
    async with open_topics(found.model_copy(update={"partitions": 5})) as topics:
        with pytest.raises(TopicMismatchError, match="it has 4 partitions, AIRTALLY_PARTITIONS is 5"):
            await topics.check()


@pytest.mark.real
async def test_to_look_for_a_topic_does_not_make_it(tmp_path: Path) -> None:
    """Brokers that make topics by themselves do so at the first question for one by its name."""
    options = Options(kafka_properties={"auto.create.topics.enable": "true"})
    with LocalStack(tmp_path, [Part.KAFKA], options=options) as stack:
        settings = Settings(kafka=stack.addresses.kafka, topic="votes", partitions=5)
        async with open_topics(settings) as topics:
            with pytest.raises(TopicMismatchError, match="airtally init"):
                await topics.check()
            assert await topics.create()
            await topics.check()
        async with open_topics(settings.model_copy(update={"replication": 2, "min_insync": 2})) as topics:
            with pytest.raises(TopicMismatchError, match="AIRTALLY_REPLICATION=1; .*AIRTALLY_MIN_INSYNC=1"):
                await topics.check()


async def looking(topics: Topics) -> None:
    """Look for ever."""
    while True:
        await topics.check()


@pytest.mark.real
async def test_a_topic_that_nobody_may_look_at_is_not_taken_for_a_good_one(tmp_path: Path) -> None:
    guarded = Options(
        kafka_properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        }
    )
    with LocalStack(tmp_path, [Part.KAFKA], options=guarded) as stack:
        settings = Settings(kafka=stack.addresses.kafka, topic="votes", partitions=5)
        async with open_topics(settings) as topics:
            assert await topics.create()
            await topics.check()
            for operation, permission in ((ALL, ALLOW), (DESCRIBE_CONFIGS, DENY)):
                request = CreateAclsRequest(TOPIC, "votes", LITERAL, "User:ANONYMOUS", "*", operation, permission)
                answer = await topics._admin._send_request(request)
                assert [code for code, *_ in answer.creation_responses] == [0]
            with pytest.raises(TopicMismatchError, match=r"--operation DescribeConfigs .* User:ANONYMOUS"):
                await asyncio.wait_for(looking(topics), WAIT_S)  # the broker hears of it a moment later


async def test_kafka_away_is_unavailable_not_wrong() -> None:
    with pytest.raises(UnavailableError):
        async with open_topics(Settings(kafka=f"127.0.0.1:{free_port()}")):
            pass
