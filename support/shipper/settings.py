"""The environment → settings, checked before anything is done."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

import platformdirs
from pydantic import Field, FilePath, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .subjects import is_host

KIB = 1024


class SettingError(ValueError):
    """A variable of the environment is missing or wrong; says which, and what is expected."""


class Link(BaseSettings):
    """How to reach NATS, and where on it: what all commands need."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, case_sensitive=True, frozen=True, extra="ignore", validate_default=False
    )

    servers: Annotated[tuple[str, ...], NoDecode] = Field(alias="NATS_URL")
    credentials: FilePath | None = Field(None, alias="NATS_CREDS")
    certificate: FilePath | None = Field(None, alias="NATS_CERTIFICATE")
    key: FilePath | None = Field(None, alias="NATS_KEY")
    ca: FilePath | None = Field(None, alias="NATS_CA")
    prefix: str = Field(alias="SHIPPER_SUBJECT")
    stream: str | None = Field(None, alias="SHIPPER_STREAM")

    @field_validator("servers", mode="before")
    @classmethod
    def _split(cls, text: str) -> tuple[str, ...]:
        servers = tuple(filter(None, (part.strip() for part in text.split(","))))
        for server in servers:
            if not re.fullmatch(r"((nats|tls|wss?)://)?[^\s/]+?(:\d{1,5})?/?", server):
                raise ValueError("write nats://host:4222, several with commas")
            port = re.search(r":(\d+)/?$", server)
            if port and not 0 < int(port[1]) < 65536:
                raise ValueError(f"{port[1]} is no port: write nats://host:4222")
        return servers

    @field_validator("prefix")
    @classmethod
    def _plain_subject(cls, text: str) -> str:
        if not re.fullmatch(r"[^\s.*>]+(\.[^\s.*>]+)*", text):
            raise ValueError(f"{text!r} is no subject without wildcards: write for example logs")
        return text

    @field_validator("stream")
    @classmethod
    def _stream_name(cls, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(r"[^\s.*>/\\]+", text):
            raise ValueError(f"{text!r} is no stream's name: write for example LOGS")
        return text

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("NATS_CERTIFICATE and NATS_KEY belong together: set both, or none")
        return self


class ProducerSettings(Link):
    """What the producer needs to know."""

    file: Path = Field(alias="SHIPPER_FILE")
    partitions: int = Field(0, alias="SHIPPER_PARTITIONS", ge=0, le=10_000)
    host: str = Field(default_factory=lambda: socket.gethostname(), alias="HOSTNAME", validate_default=True)
    batch: int = Field(512 * KIB, alias="SHIPPER_BATCH", ge=0)
    state: Path = Field(
        default_factory=lambda: platformdirs.user_state_path("nats-log-shipper"), alias="SHIPPER_STATE"
    )

    @field_validator("file")
    @classmethod
    def _regular(cls, path: Path) -> Path:
        try:
            if path.exists() and not path.is_file():
                raise ValueError(f"{path} is no regular file")
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        return path

    @field_validator("host")
    @classmethod
    def _is_host(cls, text: str) -> str:
        if not is_host(text):
            raise ValueError(f"{text!r} is no host name (RFC 1123): write for example web1.example.net")
        return text


class ConsumerSettings(Link):
    """What the consumer needs to know. `keep` is in days."""

    partitions: Annotated[tuple[int, ...], NoDecode] = Field((0,), alias="SHIPPER_READ_PARTITIONS")
    directory: Path = Field(alias="SHIPPER_DIRECTORY")
    output: str = Field("log-%Y%m%d%H%M", alias="SHIPPER_OUTPUT")
    keep: int = Field(7, alias="SHIPPER_KEEP", ge=1)
    target: str | None = Field(None, alias="SHIPPER_STREAM_TARGET")
    state_directory: Path | None = Field(None, alias="SHIPPER_STATE")

    @field_validator("partitions", mode="before")
    @classmethod
    def _numbers(cls, text: str) -> tuple[int, ...]:
        return tuple(sorted(numbers(text)))

    @field_validator("output")
    @classmethod
    def _file_name(cls, text: str) -> str:
        pattern = text if "%" in text else f"{text}-%Y%m%d%H%M"
        try:
            name = datetime(2000, 12, 31, tzinfo=UTC).strftime(pattern)
        except ValueError as error:
            raise ValueError(f"{text!r} is no strftime pattern: {error}") from None
        if not name or name.startswith(".") or re.search(r"[/\\\0]", name) or len(name.encode()) > 200:
            raise ValueError(f"{text!r} names no file in the host's directory: write for example log-%Y%m%d")
        return pattern

    @model_validator(mode="after")
    def _target_of_a_stream(self) -> Self:
        if self.target and not self.stream:
            raise ValueError("SHIPPER_STREAM_TARGET needs SHIPPER_STREAM: the stream that delivers to it")
        return self

    @property
    def state(self) -> Path:
        """Where the checkpoint lives."""
        return self.state_directory or self.directory / ".shipper"


class SetupSettings(Link):
    """What setup and report need to know."""

    stream: str = Field(alias="SHIPPER_STREAM")
    partitions: int = Field(0, alias="SHIPPER_PARTITIONS", ge=0, le=10_000)
    target: str | None = Field(None, alias="SHIPPER_STREAM_TARGET")


AnySettings = TypeVar("AnySettings", bound=Link)


def numbers(text: str) -> set[int]:
    """The numbers in a list such as "0,1,2" or "0-4,7"; raise ValueError if it is none."""
    found: set[int] = set()
    for part in text.split(","):
        if not (bounds := re.fullmatch(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", part)):
            raise ValueError(f"{text!r} is no list of partitions: write for example 0,1,2 or 0-4")
        first, last = int(bounds[1]), int(bounds[2] or bounds[1])
        if last < first:
            raise ValueError(f"{part.strip()!r} counts down: write {last}-{first}")
        found.update(range(first, last + 1))
    return found


def load(kind: type[AnySettings]) -> AnySettings:
    """The settings of one command from the environment.

    Raises SettingError: one line that names the variable.
    """
    try:
        return cast(Callable[[], AnySettings], kind)()  # its arguments come from the environment
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        field = kind.model_fields.get(name)  # named so where a default is wrong
        raise SettingError(_one_line(first, str(field.alias) if field else name)) from None


_HINTS = {
    "NATS_URL": "the servers, for example nats://127.0.0.1:4222",
    "SHIPPER_SUBJECT": "the prefix of all subjects, for example logs",
    "SHIPPER_FILE": "the file to follow, for example /var/log/messages",
    "SHIPPER_DIRECTORY": "where the hosts' files go, for example /var/log/hosts",
    "SHIPPER_STREAM": "the stream's name, for example LOGS",
}


def _one_line(error: Any, variable: str) -> str:
    if error["type"] == "missing":
        return f"{variable} is missing: set it to {_HINTS[variable]}"
    said = str(error["msg"]).removeprefix("Value error, ")
    given = "" if "ctx" in error and "error" in error["ctx"] else f" (it is {error['input']!r})"
    return f"{variable}: {said}{given}" if variable else said
