"""How to reach Kafka: the settings as aiokafka and as Faust want them."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.helpers import create_ssl_context

import pipeline.log.broker_connection  # noqa: F401  # for all clients, since all are made from here
from pipeline.errors import SettingError, UnavailableError
from pipeline.settings import Settings

log = structlog.get_logger(__name__)


def bootstrap(settings: Settings) -> str:
    """Give the bootstrap servers.

    Raises:
        SettingError: none are set.
    """
    if not settings.kafka:
        raise SettingError("AIRTALLY_KAFKA is not set: give Kafka's address (host:port), or start one by `airtally up`")
    return settings.kafka


def client_options(settings: Settings) -> dict[str, Any]:
    """Give the keyword arguments that any aiokafka client is made with."""
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap(settings),
        "security_protocol": settings.kafka_security,
        "ssl_context": _ssl_context(settings),
    }
    if settings.kafka_security.startswith("SASL"):
        user, password = _credentials(settings)
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }
    return options


def faust_options(settings: Settings) -> dict[str, Any]:
    """Give the keyword arguments that a Faust app needs to reach Kafka through the batch transport."""
    servers = ";".join(f"kafka-batch://{server.strip()}" for server in bootstrap(settings).split(","))
    context = _ssl_context(settings)
    if settings.kafka_security.startswith("SASL"):
        user, password = _credentials(settings)
        credentials = faust.SASLCredentials(
            username=user, password=password, ssl_context=context, mechanism=settings.kafka_sasl_mechanism
        )
        return {"broker": servers, "broker_credentials": credentials}
    return {"broker": servers, "broker_credentials": context}


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.kafka_security.endswith("SSL"):
        return None
    try:
        context: ssl.SSLContext = create_ssl_context(cafile=settings.kafka_ca_file)
    except OSError as error:
        raise SettingError(
            f"AIRTALLY_KAFKA_CA_FILE={settings.kafka_ca_file} cannot be used ({error}): give a file of certificates in PEM"
        ) from None
    return context


def _credentials(settings: Settings) -> tuple[str, str]:
    if not settings.kafka_user or settings.kafka_password is None:
        raise SettingError(
            f"AIRTALLY_KAFKA_SECURITY={settings.kafka_security} needs AIRTALLY_KAFKA_USER and AIRTALLY_KAFKA_PASSWORD"
        )
    return settings.kafka_user, settings.kafka_password.get_secret_value()


async def start_client(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Connect; a client that cannot is stopped, since it has begun to try.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    with unavailable_if_down():
        try:
            await client.start()
        except BaseException:
            await client.stop()
            raise


async def stop_producer(producer: AIOKafkaProducer, within_s: float) -> None:
    """Stop a producer in bounded time. Whoever waits for what it has not sent by then is told that it was closed."""
    try:
        async with asyncio.timeout(within_s):
            await producer.stop()
    except TimeoutError:  # it would go on trying; its second `stop` does nothing
        producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001  # aiokafka is pinned
        try:
            async with asyncio.timeout(within_s):
                await producer._sender.close()  # noqa: SLF001
        except Exception as error:  # noqa: BLE001  # a batch on its way that is failed already is looked for, and not found
            log.debug("a producer's sender has ended otherwise", error=repr(error))
        finally:
            await producer.client.close()


@contextmanager
def unavailable_if_down() -> Iterator[None]:
    """Turn what aiokafka raises while Kafka is away into ``UnavailableError``."""
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError(f"Kafka does not answer as it should: {error!r}") from error
