"""Exercise checks: a module for each part, on the machinery below.

await part3.shares_the_work(my_worker)      # prints "✓ ..." or "not yet: ..."
"""

from .check import Check, NotYet, Verdict, check
from .room import Room

__all__ = ["Check", "NotYet", "Room", "Verdict", "check"]
