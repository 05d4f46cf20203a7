"""Pictures of what a run recorded, all in one look."""

from .look import ROLE, picture
from .sequence import sequence
from .topology import topology

__all__ = ["ROLE", "picture", "sequence", "topology"]
