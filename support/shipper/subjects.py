"""host → partition → subject, and back."""

from __future__ import annotations

import re

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def fnv1a(data: bytes) -> int:
    """The FNV-1a hash of `data`, 32 bits (Fowler, Noll, Vo; RFC 9923)."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def partition(host: str, partitions: int) -> int:
    """The partition of a host among `partitions`, from 0; with none, partition 0."""
    return fnv1a(host.encode()) % partitions if partitions else 0


def subject_of(prefix: str, number: int, host: str) -> str:
    """Where the lines of `host` travel: subject_of("logs", 1, "web1.example") is logs.p1.web1.example."""
    return f"{prefix}.p{number}.{host}"


def partition_subject(prefix: str, number: int) -> str:
    """The lines of all hosts in one partition: logs.p1.>"""
    return f"{prefix}.p{number}.>"


def control_subject(prefix: str) -> str:
    """Where all producers listen for "pause" and "resume": the Big Red Button."""
    return f"{prefix}.control"


def presence_subject(prefix: str, task: str) -> str:
    """Where whoever does a task answers that it is there, for example that of producer.web1."""
    return f"{prefix}.control.{task}"


def host_of(prefix: str, subject: str) -> str | None:
    """The host in a subject, or None if there is none that may become the name of a directory."""
    found = re.fullmatch(rf"{re.escape(prefix)}\.p\d+\.(.+)", subject)
    return found[1] if found and is_host(found[1]) else None


def is_host(name: str) -> bool:
    """Whether `name` is a host name: labels of letters, digits and inner hyphens (RFC 1123, 2.1)."""
    return len(name) <= 253 and _HOST.fullmatch(name) is not None
