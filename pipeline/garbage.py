"""When the garbage collector looks: it stops everything meanwhile, for up to a tenth of a second."""

import gc


def collect_rarely() -> None:
    """Keep it from what there is already, such as what was imported, and let it look at the rest rarely.

    A batch is thousands of small objects without cycles, of which it would look at each many times over.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
