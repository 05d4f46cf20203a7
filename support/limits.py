"""Limits that the operating system sets for this process."""

from __future__ import annotations

import sys
from contextlib import suppress


def allow_open_files(wanted: int) -> int:
    """Raise this process's limit of open files to `wanted` where possible; return the limit in force.

    Each connection is an open file. Processes that are started later inherit the limit.
    """
    if sys.platform == "win32":
        return wanted  # no limit of this kind
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(soft, wanted)
