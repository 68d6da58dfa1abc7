"""The columns of a batch as records again, to compare them with what is decoded one by one."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from pipeline.domain.columns import read_columns
from pipeline.domain.record import Record, Vote
from pipeline.domain.strings import Strings


def records_in(values: Sequence[bytes | None]) -> list[Record | None]:
    """Read the values of a batch; vote ids are in small letters then."""
    columns = read_columns(Strings.of(values))
    assert list(columns.others) == [place for place, kind in enumerate(columns.kind_of.tolist()) if kind < 0]
    records: list[Record | None] = []
    for place, number in enumerate(columns.kind_of.tolist()):
        if number < 0:
            records.append(columns.others[place])
            continue
        kind = columns.kinds[number]._asdict()
        vote_id, voter_id = str(UUID(bytes=columns.vote_ids[place].tobytes())), columns.voter_ids[place].decode()
        records.append(Vote(vote_id=vote_id, voter_id=voter_id, cast_at=int(columns.cast_at[place]), **kind))
    return records


def in_small_letters(record: Record | None) -> Record | None:
    """Write a vote's id as ``records_in`` does."""
    return msgspec.structs.replace(record, vote_id=record.vote_id.lower()) if isinstance(record, Vote) else record
