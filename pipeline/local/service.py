"""A program of ours on top of the parts."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.local import clickhouse
from pipeline.local.parts import Addresses
from pipeline.local.ports import require_free
from pipeline.local.process import Launch


@dataclass(frozen=True)
class Service:
    """Such as ``airtally tally``; it finds the addresses of the parts in its environment."""

    name: str
    argv: Sequence[str]
    address: str = ""  # of what it serves to others, if it does
    ready_url: str | None = None  # answers 200 when it serves; None: it serves as soon as it runs
    env: Mapping[str, str] = field(default_factory=dict)
    ready_s: float = 60.0
    grace_s: float = 20.0

    def require_ports(self) -> None:
        """Make sure that its ports are free: whoever answers there would be taken for it.

        Raises:
            PortInUseError: somebody listens there.
        """
        for url in filter(None, (self.ready_url, self.address)):
            if port := urlsplit(url).port:
                require_free(port, self.name)

    def launch(self, folder: Path, addresses: Addresses) -> Launch:
        """How to run it, with its log in ``folder``."""
        url = self.ready_url
        return Launch(
            name=self.name,
            argv=self.argv,
            log_file=folder / f"{self.name}.log",
            probe=(lambda: clickhouse.require_ok(url, self.name)) if url else (lambda: None),
            env={**os.environ, **addresses.environment(), **self.env},
            ready_s=self.ready_s,
            grace_s=self.grace_s,
        )
