"""Mutual TLS, and a credentials file, on real servers; certificates and keys are made for each test."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import nkeys
import pytest
import trustme
from world import World

from support import NatsServer
from support.config import Config, Tls

WEB1 = "web1.example.net"


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    """A CA, and certificates of a server and of a client."""
    ca = trustme.CA()
    found = {"ca": tmp_path / "ca.pem"}
    ca.cert_pem.write_to_path(found["ca"])
    for name, identity in (("server", "127.0.0.1"), ("client", "producer@example.net")):
        issued = ca.issue_cert(identity)
        found[name], found[f"{name}-key"] = tmp_path / f"{name}.pem", tmp_path / f"{name}-key.pem"
        issued.cert_chain_pems[0].write_to_path(found[name])
        issued.private_key_pem.write_to_path(found[f"{name}-key"])
    return found


def test_mutual_tls(tmp_path: Path, certificates: dict[str, Path], eventually: Callable[..., None]) -> None:
    tls = Tls(certificates["server"], certificates["server-key"], certificates["ca"], verify=True)
    with (
        NatsServer(jetstream=True, config=Config(tls=tls)) as server,
        World(tmp_path, server.url.replace("nats://", "tls://")) as world,
    ):
        world.settings["NATS_CA"] = str(certificates["ca"])
        world.write(WEB1, b"one\n")
        stranger = world.start("producer", host=WEB1)
        eventually(lambda: "cannot connect to" in stranger.output())
        world.settings["NATS_CERTIFICATE"] = str(certificates["client"])
        world.settings["NATS_KEY"] = str(certificates["client-key"])
        world.done("setup")
        stranger.kill()
        stranger.wait()
        world.ship(WEB1)
        assert world.stored(WEB1) == b"one\n"
        suspicious = world.start("producer", host=WEB1, NATS_CA="")
        eventually(lambda: "certificate verify failed" in suspicious.output().lower())


def test_a_credentials_file(tmp_path: Path, eventually: Callable[..., None]) -> None:
    operator, system, account, user = map(pair, ("operator", "account", "account", "user"))
    limits = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    limits |= {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1}
    claims = {"type": "account", "version": 2, "limits": limits}
    # The system account is the one without JetStream.
    plain = claims | {"limits": limits | {"mem_storage": 0, "disk_storage": 0}}
    resolver = {
        public(account): token(operator, public(account), "shipper", claims),
        public(system): token(operator, public(system), "system", plain),
    }
    config = Config(
        more={
            "operator": token(operator, public(operator), "operator", {"type": "operator", "version": 2}),
            "system_account": public(system),
            "resolver": "MEMORY",
            "resolver_preload": resolver,
        }
    )
    user_claims = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
    credentials = tmp_path / "user.creds"
    credentials.write_text(
        "-----BEGIN NATS USER JWT-----\n"
        f"{token(account, public(user), 'shipper', user_claims)}\n"
        "------END NATS USER JWT------\n\n"
        "-----BEGIN USER NKEY SEED-----\n"
        f"{bytes(user.seed).decode()}\n"
        "------END USER NKEY SEED------\n"
    )
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


# -- what an operator's tool does (NATS documentation, "JWTs"; RFC 7519) --------------------------------


def pair(kind: str) -> nkeys.KeyPair:
    """A new Ed25519 key pair of an operator, an account or a user."""
    prefix = {"operator": nkeys.PREFIX_BYTE_OPERATOR, "account": nkeys.PREFIX_BYTE_ACCOUNT}
    return nkeys.from_seed(
        nkeys.encode_seed(secrets.token_bytes(32), prefix.get(kind, nkeys.PREFIX_BYTE_USER))
    )


def public(key: nkeys.KeyPair) -> str:
    return bytes(key.public_key).decode()


def token(signer: nkeys.KeyPair, subject: str, name: str, claims: dict[str, object]) -> str:
    """A JWT about `subject`, signed by `signer`."""
    body = {"iss": public(signer), "sub": subject, "name": name, "iat": int(time.time()), "nats": claims}
    digest = hashlib.new("sha512_256", json.dumps(body).encode()).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (head, body))
    return f"{signed}.{encode(signer.sign(signed.encode()))}"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
