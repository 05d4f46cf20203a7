"""Every test runs on real servers, and fails if it leaves a process or a directory behind."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from world import World

from support import NatsServer
from support.child import PREFIX

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temporary folder for this run alone, so that what is left behind in it is ours."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """No nats-server still runs below this process, and no private directory is left."""
    if request.node.path.suffix == ".ipynb":
        yield  # the cells of one notebook share its server
        return
    before = private_directories()
    yield
    gc.collect()
    running = [each.pid for each in psutil.Process().children(recursive=True) if is_server(each)]
    assert not running, f"nats-server still running: {running}"
    left = private_directories() - before
    assert not left, f"directories left behind: {left}"


def is_server(process: psutil.Process) -> bool:
    try:
        return "nats-server" in process.name()
    except psutil.NoSuchProcess:  # it has just ended
        return False


def private_directories() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*")}


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait for a condition with a deadline, without an event loop."""
    import time

    def wait(condition: Callable[[], object], *, timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s"
            time.sleep(0.01)

    return wait


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server with JetStream, set up for the shipper, and everything that is started on it."""
    with (
        NatsServer(jetstream=True, store_dir=tmp_path / "store") as server,
        World(tmp_path, server.url) as world,
    ):
        world.server = server
        world.done("setup")
        yield world
