"""The installed script is the same program, and the shell can complete it."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("nats-notebooks")


def test_the_script_completes_its_commands() -> None:
    environment = {
        **os.environ,
        "_NATS_NOTEBOOKS_COMPLETE": "complete_bash",
        "COMP_WORDS": "nats-notebooks d",
        "COMP_CWORD": "1",
    }
    run = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert "doctor" in run.stdout
    assert "lab" not in run.stdout
