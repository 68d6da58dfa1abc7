"""All loops that a worker runs, compiled before it starts: `python -m pipeline.log.compiled`, while an image is built.

It says how many there are, and how many of them were found in Numba's cache.
"""

import pipeline.domain.fold
import pipeline.log.record_format  # noqa: F401  # for its loops, as above
from pipeline.domain.native import compile_all

if __name__ == "__main__":
    loops, found = compile_all()
    print(f"{loops} loops, {found} of them compiled before")  # noqa: T201
