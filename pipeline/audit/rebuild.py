"""A ledger folded again: from records that somebody reads, with the rules and the script that the tally uses."""

from collections.abc import AsyncIterator

from pipeline.domain.batch import RecordBatch
from pipeline.domain.fold import PartitionState, fold
from pipeline.domain.partition import Answer
from pipeline.errors import LogNotDenseError, PollError
from pipeline.ledger.command import MAX_RECORDS
from pipeline.ledger.ledger import Ledger


async def fold_again(ledger: Ledger, partition: int, base: int, batches: AsyncIterator[RecordBatch]) -> int:
    """Throw a partition's ledger away and fold it from `base` on; give the offset that it has come to.

    Raises:
        LogNotDenseError: the records have a hole.
        PollError: somebody else writes into this ledger meanwhile.
        UnavailableError: Redis does not answer. The ledger is incomplete then: repeat the command.
    """
    await ledger.reset(partition, base)
    state = PartitionState(base, base=base)
    async for batch in batches:
        if batch.first_offset != state.next_offset:
            raise LogNotDenseError(
                f"partition {partition}: the records from {state.next_offset} to {batch.first_offset - 1} are missing"
            )
        for piece in batch.split(MAX_RECORDS):
            state, chunk = fold(state, piece)
            reply = await ledger.apply(chunk)
            if reply.answer is not Answer.APPLIED:
                raise PollError(
                    f"somebody else writes into the ledger of partition {partition}: stop the tally workers, and repeat"
                )
    return state.next_offset
