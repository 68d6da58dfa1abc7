"""The archive's world: it holds at every moment a whole beginning of each partition's log, each record once to its readers."""

from collections import Counter

from .clickhouse import SimulatedClickHouse
from .worker import PARTITIONS, ArchiveWorker
from .world import InvariantError, World


class ArchiveWorld(World):
    """Workers of the archive, and ClickHouse."""

    def __init__(self, seed: int, clickhouse: SimulatedClickHouse | None = None) -> None:
        self.clickhouse = clickhouse or SimulatedClickHouse()
        self._checked, self._has_lost, self._ever_lost = 0, False, False
        super().__init__(seed, self.clickhouse)

    def begun(self, name: str) -> ArchiveWorker:
        return ArchiveWorker(name, self.log, self.clickhouse)

    def reached(self, partition: int) -> int:
        return self.clickhouse.whole_to({partition: 0}).get(partition, 0)

    def check(self) -> None:
        super().check()
        if self._checked == self.clickhouse.changes:
            return
        self._checked = self.clickhouse.changes
        for partition in range(PARTITIONS):
            held = self.clickhouse.offsets(partition)
            # What was on its way when records were lost may land behind a hole. It must be gone when all is calm.
            if held != list(range(len(held))) and not self._has_lost:
                raise InvariantError(f"partition {partition} has a hole in {held}")
            for offset in held:
                self._check_record(partition, offset)

    def calm(self) -> bool:
        super().calm()
        self._has_lost = False
        return True

    def roll_back(self, copy: int) -> bool:
        lost = super().roll_back(copy)
        self._has_lost |= lost
        self._ever_lost |= lost
        return lost

    def wipe(self) -> bool:
        self._has_lost = self._ever_lost = super().wipe()
        return True

    def _check_record(self, partition: int, offset: int) -> None:
        rows = self.clickhouse.rows[partition, offset]
        if {row.value for row in rows} != {self.log.written[partition][offset].value}:
            raise InvariantError(f"record {offset} of partition {partition} is not the log's: {rows}")
        # Where records were lost, what lies behind the hole is read and stored again.
        writers = Counter(row.writer for row in rows if row.writer and not self._ever_lost)
        if writers and max(writers.values()) > 1:
            raise InvariantError(
                f"record {offset} of partition {partition} was stored twice by the same worker: {rows}"
            )

    # ClickHouse.

    def die_at_next_insert(self) -> bool:
        """Let ClickHouse be killed in the middle of the next insert."""
        self.clickhouse.dies_at_next_insert = True
        return True

    def forget_tokens(self) -> bool:
        """Let ClickHouse forget the tokens that it has seen."""
        self.clickhouse.forget_tokens()
        return True
