import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import PrivateDirectory

OWNER = """
import os, signal, time
from support import PrivateDirectory
here = PrivateDirectory()
(here / "secret").write_text("…")
print(here.path, flush=True)
{ending}
"""


def test_only_its_owner_may_look_into_it_and_it_is_removed() -> None:
    with PrivateDirectory() as here:
        (here / "app.log").write_text("one\n")
        assert list(here.path.iterdir()) == [here / "app.log"]
        assert stat.S_IMODE(here.path.parent.stat().st_mode) == 0o700
    assert not here.path.parent.exists()
    here.close()


@pytest.mark.parametrize("ending", ["pass", "raise RuntimeError", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_it_is_removed_however_its_owner_ends(ending: str, eventually: Callable[..., None]) -> None:
    owner = subprocess.run(
        [sys.executable, "-c", OWNER.format(ending=ending)], capture_output=True, text=True, timeout=30
    )
    folder = Path(owner.stdout.strip())
    assert folder.name
    eventually(lambda: not folder.parent.exists())


def test_it_stays_when_a_fork_of_its_owner_ends() -> None:
    with PrivateDirectory() as here:
        if (pid := os.fork()) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        assert here.path.exists()


FORKS = """
import os, sys
from support import PrivateDirectory
closed, here = [PrivateDirectory() for _ in range(4)], PrivateDirectory()
for each in closed:
    each.close()
if pid := os.fork():
    os.waitpid(pid, 0)
    print(here.path.exists())
"""


def test_a_fork_that_ends_normally_ends_nothing_of_its_owner() -> None:
    """Also where the hook of a fork meets children that were closed, and are still referred to."""
    owner = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=30)
    assert owner.stdout == "True\n"
