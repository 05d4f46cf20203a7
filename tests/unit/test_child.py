import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.child import PREFIX, Child, ChildError, LockedError

Eventually = Callable[..., None]

OWNER = """
    import os, signal, sys, time
    from support.server import NatsServer
    server = NatsServer(jetstream=True).start()
    print(server.pid, server.log_file.parent, flush=True)
    {ending}
"""
ENDINGS = {
    "normal end": "pass",
    "exception": "raise RuntimeError('oops')",
    "os._exit": "os._exit(3)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)",
    "SIGKILL while stopped": "server.stop(); os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)",
}


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_server_never_outlives_its_owner(ending: str, eventually: Eventually) -> None:
    owner = subprocess.run(
        python(OWNER.format(ending=ENDINGS[ending])), capture_output=True, text=True, timeout=30
    )
    pid, folder = owner.stdout.split(maxsplit=1)
    eventually(lambda: gone(int(pid)))
    eventually(lambda: not Path(folder.strip()).exists())


def test_an_interrupt_of_the_owner_does_not_reach_the_server(eventually: Eventually) -> None:
    ending = """
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except KeyboardInterrupt:
        print(server.pid, os.getsid(server.pid) != os.getsid(0), flush=True)
    """
    code = textwrap.dedent(OWNER).format(ending=textwrap.dedent(ending))
    owner = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    before, after = owner.stdout.splitlines()
    assert after == f"{before.split()[0]} True"


def test_a_child_goes_on_when_the_thread_that_started_it_ends() -> None:
    found: list[Child] = []
    starter = threading.Thread(target=lambda: found.append(Child(python("import time; time.sleep(60)"))))
    starter.start()
    starter.join()
    with found[0] as child:
        assert child.pid is not None


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_when_its_guard_is_killed_the_child_ends_too(eventually: Eventually) -> None:
    with Child(python("import time; time.sleep(60)")) as child:
        pid = child.pid
        assert pid
        os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
        eventually(lambda: gone(pid))
        folder = child.log.parent
    assert not folder.exists(), "the guard could not remove it any more, so the owner does"


def test_what_it_prints_is_kept() -> None:
    with Child(python("import sys; print('out'); print('err', file=sys.stderr)")) as child:
        child.wait()
        assert sorted(child.output().split()) == ["err", "out"]
        assert child.pid is None


def test_variables_are_added_to_the_environment() -> None:
    with Child(python("import os; print(os.environ['COLOUR'])"), environment={"COLOUR": "blue"}) as child:
        child.wait()
        assert child.output().strip() == "blue"


def test_terminate_is_an_orderly_end_and_kill_is_not(tmp_path: Path, eventually: Eventually) -> None:
    code = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("tidy", flush=True), sys.exit()))
        print("ready", flush=True)
        time.sleep(60)
    """
    for end, said in ("terminate", "ready\ntidy\n"), ("kill", "ready\n"):
        with Child(python(code)) as child:
            eventually(lambda: "ready" in child.output())
            getattr(child, end)()
            child.wait()
            assert child.output() == said


def test_waiting_has_a_deadline() -> None:
    with Child(python("import time; time.sleep(60)")) as child, pytest.raises(TimeoutError):
        child.wait(0.05)


def test_a_command_that_cannot_run_is_named() -> None:
    with pytest.raises(ChildError, match="cannot run /no/such/program: No such file"):
        Child(["/no/such/program"])


def test_a_lock_is_held_until_the_child_has_ended(tmp_path: Path) -> None:
    lock, code = tmp_path / "lock", python("import time; time.sleep(60)")
    with Child(code, lock=lock) as first:
        with pytest.raises(LockedError):
            Child(code, lock=lock)
        first.kill()
        first.wait()
        with Child(code, lock=lock) as second:
            assert second.pid


def test_the_lock_survives_a_killed_owner_as_long_as_the_child_lives(tmp_path: Path) -> None:
    """The child holds the lock itself: there is no moment in which two could have it."""
    lock = tmp_path / "lock"
    with Child(python("import time; time.sleep(60)"), lock=lock) as child:
        descriptors = {each.path for each in psutil.Process(child.pid).open_files()}
        assert str(lock) in descriptors


def test_its_directory_is_its_own(own_temporary_folder: Path) -> None:
    with Child(python("pass")) as child:
        assert child.log.parent.parent == own_temporary_folder
        assert child.log.parent.name.startswith(PREFIX)
        assert child.log.parent.stat().st_mode & 0o777 == 0o700


FORKS = """
    import multiprocessing, os, signal, sys, time
    from support.server import NatsServer
    server = NatsServer().start()
    folder = server.log_file.parent
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,), daemon=True)
    fork.start()
    print(server.pid, fork.pid, folder, flush=True)
    {ending}
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), signal.SIGKILL)", "server.close(); os._exit(0)"])
def test_a_fork_of_the_owner_does_not_keep_the_server_alive(ending: str, eventually: Eventually) -> None:
    owner = subprocess.Popen(
        python(FORKS.format(ending=ending)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout
    with owner.stdout as pipe:
        pid, fork, folder = pipe.readline().split(maxsplit=2)
    try:
        owner.wait(15)
        eventually(lambda: gone(int(pid)), timeout=5)
        eventually(lambda: not Path(folder.strip()).exists())
    finally:
        os.kill(int(fork), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_that_ends_leaves_the_server_to_its_owner() -> None:
    ending = """
        if (pid := os.fork()) == 0:
            sys.exit()
        os.waitpid(pid, 0)
        assert server.pid and server.log_file.exists()
        server.close()
        print("fine", flush=True)
    """
    code = textwrap.dedent(OWNER).format(ending=textwrap.dedent(ending))
    owner = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert owner.stdout.endswith("fine\n"), owner.stderr


def test_an_owner_killed_in_the_middle_of_a_start_leaves_nothing(
    own_temporary_folder: Path, eventually: Eventually
) -> None:
    code = """
        import os, signal, threading, time, sys
        from support.server import NatsServer
        server = NatsServer()
        if sys.argv[1] == "restart":
            server.start()
        threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGKILL)).start()
        while True:
            server.restart()
    """
    for how in "start", "restart":
        for delay in range(0, 60, 6):
            owner = subprocess.run([*python(code), how, str(delay / 1000)], capture_output=True, timeout=30)
            assert owner.returncode == -signal.SIGKILL

    def running() -> list[str]:
        words = (word for each in psutil.process_iter(["cmdline"]) for word in each.info["cmdline"] or ())
        return [word for word in words if str(own_temporary_folder) in word]

    eventually(lambda: not running())
    for left in own_temporary_folder.glob(f"{PREFIX}*"):
        # Killed after the directory was made and before the guard was: no server ever wrote there.
        assert not (left / "log").exists() or not (left / "log").read_text()
        shutil.rmtree(left)


def test_it_tells_how_the_child_ended(eventually: Eventually) -> None:
    with Child(python("import sys; sys.exit(3)")) as child:
        child.wait()
        assert child.status == child.status == 3
    with Child(python("import time; time.sleep(60)")) as child:
        assert child.status is None
        child.kill()
        child.wait()
        eventually(lambda: child.status == -signal.SIGKILL)
    with Child(python("import time; time.sleep(60)")) as child:
        pass
    assert child.status is None
