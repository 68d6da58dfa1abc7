"""The Redis keyspace (the contract is ``schemas/redis.md``): all keys of one partition lie in one hash slot."""

from pipeline.domain.poll import PollId

FORMAT = 3  # of the keys and fields of a ledger; another one is another layout


class Keys:
    """The keys of one partition's ledger."""

    def __init__(self, topic: str, partition: int) -> None:
        self.slot = f"{{{topic}/{partition}}}"
        self.head = f"{self.slot}:head"
        self.polls = f"{self.slot}:polls"

    def poll(self, poll_id: PollId) -> str:
        """Name the hash of a poll's rules, state, totals and outcomes."""
        return f"{self.slot}:poll:{poll_name(poll_id)}"

    def windows(self, poll_id: PollId) -> str:
        """Name the hash of a poll's votes per window and option."""
        return f"{self.slot}:windows:{poll_name(poll_id)}"

    def edges(self, poll_id: PollId) -> str:
        """Name the hash of when each edge's last vote for a poll was appended."""
        return f"{self.slot}:edges:{poll_name(poll_id)}"

    def ids(self, poll_id: PollId, epoch: int) -> str:
        """Name the list of the vote ids that came in an epoch."""
        return f"{self.slot}:ids:{poll_name(poll_id)}/{epoch}"

    def voters(self, poll_id: PollId, size: int) -> str:
        """Name the list of the voters of counted votes whose ids are packed in so many bytes."""
        return f"{self.slot}:voters:{poll_name(poll_id)}/{size}"

    def votes_of(self, poll_id: PollId) -> str:
        """Name the hash of how many votes are counted of each voter, where a poll allows so many that they are not listed."""
        return f"{self.slot}:votes-of:{poll_name(poll_id)}"


def poll_name(poll_id: PollId) -> str:
    """Write a poll's name as it stands in keys."""
    return f"{poll_id.show_id}/{poll_id.poll_id}"


def parse_poll_name(name: str) -> PollId:
    """Read what ``poll_name`` wrote."""
    show_id, _, poll_id = name.partition("/")
    return PollId(show_id, poll_id)
