"""rsyslog as it ships a file: a sender, a receiver, and a queue in memory or on disk in between.

imfile → omfwd → imtcp → omfile with a file per host; the options are those of rsyslog's documentation
(modules imfile, omfwd, imtcp, omfile; "Understanding rsyslog queues").
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .processes import UnusableError, free_port, listens, process, wait

HOST = "web1"
QUEUES = {
    "memory": 'queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="1024"',
    "disk": 'queue.type="Disk" queue.filename="queue" queue.maxFileSize="64m" queue.dequeueBatchSize="1024"',
}
_SENDER = """
global(workDirectory="{place}" localHostname="{host}")
module(load="imfile" mode="inotify")
ruleset(name="send") {{
  action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" {queue} action.resumeRetryCount="-1")
}}
input(type="imfile" file="{place}/app.log" tag="bench:" ruleset="send")
"""
_RECEIVER = """
global(workDirectory="{place}" maxMessageSize="64k")
module(load="imtcp")
template(name="file" type="string" string="{place}/out/%hostname%/log")
template(name="line" type="string" string="%msg:2:$%\\n")
ruleset(name="store") {{ action(type="omfile" dynaFile="file" template="line") }}
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="store")
"""


def find() -> str:
    """The program; raise UnusableError if it is not there."""
    if found := shutil.which("rsyslogd") or shutil.which("/usr/sbin/rsyslogd"):
        return found
    raise UnusableError("rsyslogd is not there: install the package rsyslog")


@contextmanager
def shipping(place: Path, queue: str) -> Iterator[dict[str, int]]:
    """Two rsyslogds that ship <place>/app.log to <place>/out/web1/log; their pids."""
    program, port = find(), free_port()
    with ExitStack() as stack:
        pids = {}
        for role, text in (("receiver", _RECEIVER), ("sender", _SENDER)):
            config = place / f"{role}.conf"
            config.write_text(text.format(place=place, host=HOST, port=port, queue=QUEUES[queue]))
            command = [program, "-n", "-f", str(config), "-i", str(place / f"{role}.pid")]
            pids[role] = stack.enter_context(process(command, place / f"{role}.log"))
            wait(lambda: listens(port), "rsyslogd did not start")
        yield pids
