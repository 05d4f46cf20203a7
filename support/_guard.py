"""Run one command for an owner, and end it when the owner is gone.

    python _guard.py DIRECTORY LOCK COMMAND [ARGUMENT ...]

Standard input is the life line: the owner holds the other end of the pipe, and the operating
system closes that end whenever the owner ends, even by SIGKILL. Then the command is ended and
DIRECTORY is removed. If the owner sends one byte first, DIRECTORY is kept.

LOCK is a file that is locked for as long as the command lives, or "" for none. The first line on
standard output is the pid of the command, or what went wrong; the second one, after the command has
ended, its exit status. The command writes to standard error.

This file needs nothing but the standard library, and little of that: it is on the way of each start.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1  # prctl(2)
GRACE = 5.0  # seconds between SIGTERM and SIGKILL


def die_with_guard() -> None:
    """Let the kernel end the command if the guard itself is killed (Linux only)."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def take_lock(path: str) -> int:
    """Lock the file `path` without waiting; raise OSError if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def run(command: list[str], lock: int | None) -> "subprocess.Popen[bytes]":
    if sys.platform == "win32":
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        # The command inherits the lock, which is thus held until it ends, even if the guard is killed.
        pass_fds=() if lock is None else (lock,),
        preexec_fn=die_with_guard if sys.platform == "linux" else None,
    )


def reap(child: "subprocess.Popen[bytes]", lock: int | None) -> None:
    """See to it that the command, once it has ended, neither looks alive nor holds the lock."""
    code = child.wait()
    with contextlib.suppress(OSError):  # the owner has gone already
        os.write(1, b"%d\n" % code)
    if lock is not None:
        os.close(lock)


def end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main(directory: str, lock_path: str, *command: str) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        lock = take_lock(lock_path) if lock_path else None
    except OSError as error:
        held = isinstance(error, PermissionError if sys.platform == "win32" else BlockingIOError)
        print("locked" if held else f"cannot lock {lock_path}: {error.strerror}", flush=True)
        return 1
    try:
        child = run(list(command), lock)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", flush=True)
        return 1
    with contextlib.suppress(BrokenPipeError):  # the owner has gone already
        print(child.pid, flush=True)
    if lock is not None and sys.platform != "win32":
        os.close(lock)  # the command has it
        lock = None
    threading.Thread(target=reap, args=(child, lock), daemon=True).start()
    sent = b"keep"
    try:
        sent = os.read(0, 1)
    finally:
        end(child)
    if not sent:
        import shutil

        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
