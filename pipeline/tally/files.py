"""Files for what a worker remembers of votes, where memory is not to hold all of it.

They are caches of one process: without a name, gone with it, and never read by another. What was remembered is in the ledger.
Their folder is a disk's: in a RAM disk they would be memory again.
"""

import mmap
import os
import tempfile
from pathlib import Path
from weakref import WeakSet

import numpy as np
import structlog

MOST_FILES = 20_000  # each has a descriptor, and a mapping, of which Linux lets a process have 65,530

log = structlog.get_logger(__name__)


class MappedFile:
    """A file of so many bytes, mapped into memory. It ends when nobody uses its cells.

    Raises:
        OSError: the disk has no room for it, or the folder cannot be written.
    """

    def __init__(self, size: int, folder: Path | None = None) -> None:
        with tempfile.TemporaryFile(prefix="airtally-", dir=folder) as file:
            # All at once: where a page finds no room later, the process is killed.
            os.posix_fallocate(file.fileno(), 0, size)
            self._map = mmap.mmap(file.fileno(), size)
        # Else Linux keeps it in pieces of up to 2 MB, of which all is mapped where one byte is read.
        self._map.madvise(mmap.MADV_RANDOM)
        self.cells = np.frombuffer(self._map, np.uint8)

    def let_go(self) -> None:
        """Give back the memory of the pages that were read or written. What they hold is the file's."""
        self._map.madvise(mmap.MADV_DONTNEED)


class Files:
    """The files of a process, in a folder, or else where the system has temporary files."""

    def __init__(self, folder: Path | None, most: int = MOST_FILES) -> None:
        self._folder = folder
        self._most = most
        self._files: WeakSet[MappedFile] = WeakSet()

    def __len__(self) -> int:
        return len(self._files)

    def make(self, size: int) -> MappedFile | None:
        """Make a file; None, and a word about it, where that cannot be."""
        if len(self._files) >= self._most:
            return None
        try:
            file = MappedFile(size, self._folder)
        except OSError as error:
            folder = str(self._folder or tempfile.gettempdir())
            log.warning(
                "remembered votes stay in memory: no file for them", folder=folder, bytes=size, error=str(error)
            )
            return None
        self._files.add(file)
        return file
