"""Everything is killed, cut and filled up, and the copy is the original.

SEED=… repeats a schedule; KILLS=500 makes it a soak (`make soak`).
"""

import os
import secrets

from storm import Storm
from world import World


def test_no_byte_is_lost_doubled_or_reordered(world: World) -> None:
    seed = int(os.environ.get("SEED") or secrets.randbelow(1_000_000))
    storm = Storm(world, seed, int(os.environ.get("KILLS") or 20))
    storm.run()
    assert storm.written > 100_000
    assert storm.losses() == {}, f"lost, doubled, reordered; repeat it with SEED={seed}"
