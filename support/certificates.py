"""A certificate authority for one run: its key stays in memory, and what it signs is thrown away.

Certificates are X.509 (RFC 5280); in mutual TLS both sides show one that the other's CA has signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, each in a PEM file."""

    certificate: Path
    key: Path


class CertificateAuthority:
    """Signs certificates, whose files go into `folder`.

        ca = CertificateAuthority(here.path)
        server = ca.issue("127.0.0.1")
        Config(tls=Tls(server.certificate, server.key, ca.file, verify=True))

    Use a folder that only you can read, and that is removed: see `PrivateDirectory`.
    """

    def __init__(self, folder: Path) -> None:
        self._ca, self._folder = trustme.CA(), folder
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str) -> Certificate:
        """A certificate for a server's address or host name, or for a client (who@example.net)."""
        issued = self._ca.issue_cert(name)
        found = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        issued.cert_chain_pems[0].write_to_path(str(found.certificate))
        found.key.touch(0o600)
        found.key.chmod(0o600)
        issued.private_key_pem.write_to_path(str(found.key))
        return found
