"""How many files and sockets a process may have open."""

import resource

SPARE = 512  # for everything in a process that is not asked for here


def allow_descriptors(number: int) -> int:
    """Raise this process's limit of open files as far as so many need, beside its others, and the system lets us.

    Returns how many of them there is room for.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(0, min(number, wanted - SPARE))
