"""Pictures of what a run recorded, all in one look."""

from .components import components
from .deliveries import deliveries
from .look import ROLE, picture
from .partitions import partitions
from .scoreboard import scoreboard
from .sequence import sequence
from .stream import stream
from .topology import topology

__all__ = [
    "ROLE",
    "components",
    "deliveries",
    "partitions",
    "picture",
    "scoreboard",
    "sequence",
    "stream",
    "topology",
]
