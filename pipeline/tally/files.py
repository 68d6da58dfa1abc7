"""Files for what a worker remembers of votes, where memory is not to hold all of it.

They are caches of one process: without a name, gone with it, and never read by another. What was remembered is in the ledger.
Their folder is a disk's: in a RAM disk they would be memory again.
"""

import errno
import mmap
import os
import tempfile
from pathlib import Path
from weakref import WeakSet

import numpy as np
import structlog

ZEROS = 1 << 20  # bytes that are written at once
MOST_FILES = 20_000  # each has a descriptor, and a mapping, of which Linux lets a process have 65,530

log = structlog.get_logger(__name__)


class MappedFile:
    """A file of so many bytes, mapped into memory. It ends when nobody uses its cells.

    Raises:
        OSError: the disk has no room for it, or the folder cannot be written.
    """

    def __init__(self, size: int, folder: Path | None = None) -> None:
        with tempfile.TemporaryFile(prefix="airtally-", dir=folder) as file:
            _reserve(file.fileno(), size)
            self._map = mmap.mmap(file.fileno(), size)
        # Else Linux keeps it in pieces of up to 2 MB, each of which is mapped as a whole where one byte is read.
        self._map.madvise(mmap.MADV_RANDOM)
        self.cells = np.frombuffer(self._map, np.uint8)

    def will_read(self, start: int, end: int) -> None:
        """Have some bytes read from the disk together, where they are not in memory: else each page is by itself."""
        start -= start % mmap.PAGESIZE
        self._map.madvise(mmap.MADV_WILLNEED, start, end - start)

    def let_go(self) -> None:
        """Give back the memory of the pages that were read or written. What they hold is the file's."""
        self._map.madvise(mmap.MADV_DONTNEED)


class Files:
    """The files of a process, in a folder, or else where the system has temporary files that are not in memory."""

    def __init__(self, folder: Path | None, most: int = MOST_FILES) -> None:
        self.folder = folder or _temporary_folder()
        self._most = most
        self._files: WeakSet[MappedFile] = WeakSet()

    def __len__(self) -> int:
        return len(self._files)

    def make(self, size: int) -> MappedFile | None:
        """Make a file; None, and a word about it, where that cannot be."""
        try:
            file = self._made(size)
        except OSError as error:
            folder = str(self.folder)
            log.warning(
                "remembered votes stay in memory: no file for them", folder=folder, bytes=size, error=str(error)
            )
            return None
        self._files.add(file)
        return file

    def _made(self, size: int) -> MappedFile:
        if len(self._files) >= self._most:
            raise OSError(errno.EMFILE, f"{self._most} are open, and there may be no more: raise `ulimit -Hn`")
        return MappedFile(size, self.folder)


def _reserve(file: int, size: int) -> None:
    """Have room on the disk for all of a file: where a page finds none later, the process is killed."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    for start in range(0, size, ZEROS):  # macOS
        os.pwrite(file, bytes(min(ZEROS, size - start)), start)


def _temporary_folder() -> Path:
    """Give the folder that TMPDIR names; or else /var/tmp, since /tmp is memory on many systems."""
    folders = [os.environ.get("TMPDIR"), "/var/tmp", tempfile.gettempdir()]  # noqa: S108  # by random names
    return next(Path(folder) for folder in folders if folder and os.access(folder, os.W_OK | os.X_OK))
