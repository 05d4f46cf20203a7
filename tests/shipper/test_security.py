"""Mutual TLS, and a credentials file, on real servers; certificates and keys are made for each test."""

import stat
from collections.abc import Callable
from pathlib import Path

from world import World

from support import CertificateAuthority, NatsServer, Operator
from support.config import Config, Tls

WEB1 = "web1.example.net"


def test_mutual_tls(tmp_path: Path, eventually: Callable[..., None]) -> None:
    ca = CertificateAuthority(tmp_path)
    own, client = ca.issue("127.0.0.1"), ca.issue("producer@example.net")
    tls = Tls(own.certificate, own.key, ca.file, verify=True)
    with (
        NatsServer(jetstream=True, config=Config(tls=tls)) as server,
        World(tmp_path, server.url.replace("nats://", "tls://")) as world,
    ):
        world.settings["NATS_CA"] = str(ca.file)
        world.write(WEB1, b"one\n")
        stranger = world.start("producer", host=WEB1)
        eventually(lambda: "cannot connect to" in stranger.output())
        world.settings["NATS_CERTIFICATE"] = str(client.certificate)
        world.settings["NATS_KEY"] = str(client.key)
        world.done("setup")
        stranger.kill()
        stranger.wait()
        world.ship(WEB1)
        assert world.stored(WEB1) == b"one\n"
        suspicious = world.start("producer", host=WEB1, NATS_CA="")
        eventually(lambda: "certificate verify failed" in suspicious.output().lower())


def test_a_credentials_file(tmp_path: Path, eventually: Callable[..., None]) -> None:
    operator = Operator()
    credentials = operator.credentials(tmp_path / "user.creds")
    config = Config(more=operator.settings())
    with NatsServer(jetstream=True, config=config) as server, World(tmp_path, server.url) as world:
        world.write(WEB1, b"one\n")
        stranger = world.start("producer", host=WEB1)
        eventually(lambda: "cannot connect to" in stranger.output())
        assert "authorization" in stranger.output().lower()
        stranger.kill()
        stranger.wait()
        world.settings["NATS_CREDS"] = str(credentials)
        world.done("setup")
        world.ship(WEB1)
        assert world.stored(WEB1) == b"one\n"


def test_nobody_else_may_read_keys_and_credentials(tmp_path: Path) -> None:
    key = CertificateAuthority(tmp_path).issue("127.0.0.1").key
    for file in key, Operator().credentials(tmp_path / "user.creds"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "127.0.0.1-key.pem").touch(0o644)
    (tmp_path / "user.creds").touch(0o644)
    test_nobody_else_may_read_keys_and_credentials(tmp_path)
