import re
import socket
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support import doctor, notebooks
from support.__main__ import app
from support.child import PREFIX
from support.doctor import examine

LOCK = notebooks.ROOT / "requirements.lock"


def said(what: str) -> str:
    return next(str(each) for each in examine(LOCK) if each.what == what)


def test_a_healthy_machine_passes() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert re.search(r"^✓ Python: 3\.", result.output, re.MULTILINE)
    assert re.search(r"^✓ nats-server: 2\.", result.output, re.MULTILINE)
    assert "✓ a server of our own: starts in" in result.output
    assert "✗" not in result.output


def test_a_missing_server_stops_a_learner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("support.binary.sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NATS_SERVER", raising=False)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "✗ nats-server: nats-server not found" in result.output
    assert 'run "make setup"' in result.output


def test_a_taken_port_is_only_noted() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        finding = doctor._port(other.getsockname()[1])
    assert "in use" in finding.said
    assert not finding.stops


def test_another_version_than_the_locked_one_is_noted(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("nats-py==0.0.1\n")
    (finding,) = (each for each in examine(lock) if each.what == "nats-py")
    assert "the notebooks were run with 0.0.1" in finding.said.replace("while ", "")
    assert finding.mark == "!"


def test_a_missing_package_stops_a_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "requires", lambda _: ["no-such-package", 'extra-thing ; extra == "test"'])
    (finding,) = doctor._packages(LOCK)
    assert finding.stops
    assert 'run "make setup"' in finding.said


def test_an_old_python_stops_a_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    assert doctor._python().stops


def test_a_folder_that_cannot_be_written_stops_a_learner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert doctor._store().stops


def test_what_was_left_behind_is_named() -> None:
    left = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        assert str(left) in said("left over")
    finally:
        left.rmdir()
    assert said("left overs") == "✓ left overs: none"
