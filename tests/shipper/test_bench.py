"""That it measures; how much is for `make bench` to say, and no test depends on it."""

import json
import shutil

import pytest
from world import World


def test_it_measures_all_contenders_and_leaves_nothing(world: World) -> None:
    vs = ["--vs", "cp {input} {output}"]
    if shutil.which("rsyslogd", path="/usr/sbin:/usr/bin"):
        vs += ["--vs", "rsyslog"]
    folder = world.folder / "bench"
    folder.mkdir()
    said = world.run(
        "bench", "--lines", "2000", "--brief", "--json", "--directory", str(folder), *vs, timeout=120
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    contenders = {each["name"]: each for each in found["contenders"]}
    assert {"batched", "line by line", "cp"} <= set(contenders)
    assert contenders["batched"]["lines"] == 2000
    assert 180 <= contenders["batched"]["bytes"] / 2000 <= 200
    assert contenders["batched"]["cpu"].keys() == {"server", "consumer", "producer"}
    assert found["server_MB_per_s"] > 0
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("cp a b", "must say {input} and {output}"),
        ("no-such-program {input} {output}", "there is no program no-such-program"),
        ("true {input} {output}", "it wrote no {output}"),
    ],
)
def test_a_contender_that_cannot_run_is_said(world: World, command: str, said: str) -> None:
    result = world.run("bench", "--lines", "1000", "--brief", "--vs", command, timeout=60)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
