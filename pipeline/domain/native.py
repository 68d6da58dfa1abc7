"""Loops over columns, compiled to machine code by Numba: written plainly, in Python, at the speed of C.

Numba is imported, which takes half a second and 150 MB, by those processes only that run a loop, when they run the first.
Each loop is compiled for one signature, and kept in Numba's cache (``NUMBA_CACHE_DIR``, else beside its module), where the next
process finds it. A worker calls ``compile_all`` before votes come. While a loop runs, other threads do, too.

Numba checks no index: a loop that is called with arrays of the right sizes has to stay inside of them by itself. And its cache
notices changes of a loop's own file only: what comes from another module is an argument.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Types of arguments, in Numba's words.
INT, FLAG, NOTHING = "int64", "boolean", "void"
FLAGS, BYTES, COUNTS, NUMBERS = "boolean[::1]", "uint8[::1]", "uint32[::1]", "int64[::1]"
BOUNDS, WORDS = "int32[::1]", "uint64[::1]"
TABLE, NUMBER_TABLE, WORD_TABLE = "uint8[:, ::1]", "int64[:, ::1]", "uint64[:, ::1]"
# What a loop does not change; also arrays that nobody may, as those made of a bytes object.
READ_BYTES = "Array(uint8, 1, 'C', readonly=True)"
READ_NUMBERS = "Array(int64, 1, 'C', readonly=True)"
READ_WORDS = "Array(uint64, 1, 'C', readonly=True)"
READ_TABLE = "Array(uint8, 2, 'C', readonly=True)"
# Words of 8 bytes that go over each other, one from each byte of a buffer on.
OVERLAPPING_WORDS = "Array(uint64, 1, 'A', readonly=True, aligned=False)"

_loops: "list[_Loop[Any, Any]]" = []
_parts: list[Callable[..., Any]] = []  # that Numba does not know yet
_one_at_a_time = Lock()


class _Loop(Generic[P, T]):
    """A function that is compiled when it is called for the first time. `plain` is the same, not compiled."""

    def __init__(self, plain: Callable[P, T], signature: str) -> None:
        self.plain, self._signature = plain, signature
        self._made: Callable[P, T] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return (self._made or self.compile())(*args, **kwargs)

    def compile(self) -> Callable[P, T]:
        """Compile it, or find it in the cache."""
        from numba import njit  # noqa: PLC0415  # see above
        from numba.extending import register_jitable  # noqa: PLC0415

        with _one_at_a_time:
            while _parts:
                register_jitable(inline="always")(_parts.pop())
            try:
                made: Callable[P, T] = njit(self._signature, cache=True, nogil=True)(self.plain)
            except Exception:  # noqa: BLE001  # nothing can be kept, or what was kept is damaged: whatever it is, do without
                made = njit(self._signature, nogil=True)(self.plain)
            self._made = made
            return made


def loop(result: str, *arguments: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function compiled, for arguments of these types."""

    def decorate(plain: Callable[P, T]) -> Callable[P, T]:
        _loops.append(made := _Loop(plain, f"{result}({', '.join(arguments)})"))
        return made

    return decorate


def part(function: Callable[P, T]) -> Callable[P, T]:
    """Let loops call a function, of which it becomes a part: those of its own module, whose changes the cache notices."""
    _parts.append(function)
    return function


def compile_all() -> tuple[int, int]:
    """Compile all loops of the modules that were imported, so that none is when votes come: that takes seconds, once.

    Give how many there are, and how many of them were found in the cache.
    """
    made: list[Any] = [each.compile() for each in _loops]
    return len(made), sum(bool(each.stats.cache_hits) for each in made)
