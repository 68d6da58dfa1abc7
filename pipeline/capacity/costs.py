"""What one vote costs, part by part, and where these numbers come from."""

import math
from pathlib import Path

import msgspec

from pipeline.errors import SettingError


class Costs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds of one core for each vote, unless a name says otherwise.

    The defaults are what `python -m bench.model` printed on two cores of a virtual machine with all parts and the publisher on
    it, the worker's on the safe side. Yours differ: measure them, and give the file to `airtally plan --costs`.
    """

    publish_s: float = 7.5e-6  # its publisher, and its append at the broker
    broker_s: float = 0.89e-6  # its fetch
    worker_s: float = 3.5e-6
    redis_s: float = 0.13e-6
    others_s: float = 0.0  # of everything else that handles each vote on the same machine, such as the archive
    round_trip_s: float = 0.5e-3  # of a chunk between worker and Redis, beyond the work itself
    ledger_bytes: float = 40.0  # of Redis, for each vote
    remembered_bytes: float = 60.0  # of the worker that has the vote's partition
    # The most that a worker has of that in memory: AIRTALLY_REMEMBERED_BYTES, of which this is the default.
    remembered_in_memory: float = 48.0 * (1 << 20)
    filed_bytes: float = 55.0  # of its disk, where it is more; `python -m bench.memory` prints both for each vote
    log_bytes: float = 239.0  # of Kafka's disk, for each vote, on one replica
    floor_s: float = 0.005  # from append to ledger when nothing waits
    merge_s: float = 0.1  # between two looks at the ledgers: what the air adds

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is a cost of at least 0, not {getattr(self, name)}")


def read_costs(path: Path) -> Costs:
    """Read costs from JSON: an object with some of the fields of ``Costs``, or with such an object as its "costs".

    Raises:
        SettingError: it is not such a file.
    """
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        return msgspec.json.decode(content.get("costs") or msgspec.json.encode(content), type=Costs)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise SettingError(f"--costs {path}: {error}") from error
