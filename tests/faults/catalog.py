"""All faults of the campaign."""

from tests.faults import clickhouse_faults, door_faults, edge_faults, kafka_faults, redis_faults, worker_faults
from tests.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *worker_faults.FAULTS,
    *kafka_faults.FAULTS,
    *redis_faults.FAULTS,
    *clickhouse_faults.FAULTS,
    *edge_faults.FAULTS,
    *door_faults.FAULTS,
)
PLACES = (0.1, 0.5, 0.9)


def named(name: str) -> Fault:
    """Give a fault.

    Raises:
        KeyError: there is none of that name.
    """
    return {fault.name: fault for fault in FAULTS}[name]
