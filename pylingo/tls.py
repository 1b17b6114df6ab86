"""Certificates: the server's own, and which ones a client trusts.

A server with ``--tls auto`` has a certificate that no authority knows. A client then shows its
fingerprint once, remembers it, and from then on accepts no other for that server: trust on first
use, as in ssh. For a certificate that the system's authorities confirm, it asks nothing.

TLS 1.2 is the oldest version that is accepted. This module knows nothing about chat.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import service_identity
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion, optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface import implementer

LIFETIME = timedelta(days=3650)
"""How long a certificate of our own making is good."""


class CertificateError(Exception):
    """A certificate is of no use; `str` of it says why and what to do."""


def fingerprint(certificate: crypto.X509) -> str:
    """The SHA-256 of a certificate, as people compare it."""
    return certificate.digest("sha256").decode()


def serve(path: Path) -> tuple[CertificateOptions, str]:
    """What a server needs for the certificate (and chain) and key in a PEM file; its fingerprint.

    Raises `CertificateError`.
    """
    try:
        pem = path.read_bytes()
        first, *chain = map(crypto.X509.from_cryptography, x509.load_pem_x509_certificates(pem))
        key = serialization.load_pem_private_key(pem, None)
        options = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(key),  # type: ignore[arg-type]
            certificate=first,
            extraCertChain=chain,
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
        options.getContext()
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, SSL.Error) as error:
        raise CertificateError(
            f"{path} has no certificate and key in PEM that belong together: {error}. "
            "Put both in it, the key without a password (openssl pkey removes it), "
            "or use --tls auto."
        ) from None
    return options, fingerprint(first)


def root(files: Iterable[Path]) -> Path | None:
    """Which of some PEM files has a certificate that is its own issuer, and not the server's."""
    keys, found = [], []
    for path in files:
        try:
            pem = path.read_bytes()
        except OSError:
            continue
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            keys.append(serialization.load_pem_private_key(pem, None).public_key())
        with suppress(ValueError):
            found += [(path, one) for one in x509.load_pem_x509_certificates(pem)]
    for path, one in found:
        with suppress(ValueError, UnsupportedAlgorithm):
            if one.issuer == one.subject and one.public_key() not in keys:
                return path
    return None


def make(path: Path) -> None:
    """Make a certificate and key of our own, readable by their owner only.

    Raises `CertificateError` where they cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname()[:64]
    if not (host and host.isascii()):
        host = "localhost"  # Linux takes any bytes for its name, a certificate does not.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host), x509.DNSName("localhost")]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    half = path.with_name(f"{path.name}-new")
    try:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        # It comes to its place as a whole: some of it would be in the way of every start after.
        half.unlink(missing_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
    except OSError as error:
        with suppress(OSError):
            half.unlink()
        raise CertificateError(
            f"The certificate {path} cannot be written: {error.strerror}. "
            "Choose another place for the database, or give a file with --tls."
        ) from None


class Pin:
    """Looks at the certificate of each connection; `seen` is the last one's fingerprint.

    `expected` is the one that a person has said yes to; a file has a line for each server. It
    takes the place of verification by authorities, so nothing may be said on a connection that it
    has refused.
    """

    def __init__(self, where: str, path: Path) -> None:
        self.seen = ""
        self._where = where.lower()
        self._path = path
        try:
            lines = path.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        rows = [words for line in lines if len(words := line.split()) > 1]
        known = {words[0].lower(): words[1] for words in rows}
        self.expected: str | None = known.get(self._where)

    def trust(self) -> None:
        """Expect what was seen, from now on. Raises `CertificateError` if it cannot be kept."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._path.open("a+b", buffering=0) as file:
                # Somebody may have edited it, and left the last line without an end.
                file.seek(0)
                known = file.read()
                end = "\n" if known and not known.endswith(b"\n") else ""
                line = f"{end}{self._where} {self.seen}\n".encode(errors="replace")
                try:
                    while line:
                        line = line[file.write(line) :]
                except OSError:
                    # Half a fingerprint would be taken for that of another certificate.
                    file.truncate(len(known))
                    raise
        except OSError as error:
            raise CertificateError(
                f"The certificate cannot be remembered in {self._path}: {error.strerror}."
            ) from None
        self.expected = self.seen

    def __call__(self, transport: Any) -> str:
        """Why the connection is refused, or nothing."""
        certificate = transport.getPeerCertificate()
        if certificate is None:
            return "The server showed no certificate."
        self.seen = fingerprint(certificate)
        if self.seen == self.expected:
            return ""
        return (
            f"The certificate of {self._where} has changed. It is {self.seen} now. Somebody may be "
            f"listening in. If the change is right, remove the line of {self._where} from "
            f"{self._path} and connect again."
        )


@implementer(IOpenSSLClientConnectionCreator)
class Caller:
    """The client's side of TLS. It asks for the server by name, for there may be several.

    If `vouched`, an authority has to vouch for the certificate, and for that name; otherwise it is
    for a `Pin` to look at. Raises `ValueError` for what is no name that a host can have.
    """

    def __init__(self, host: str, *, vouched: bool = True) -> None:
        # A name may end so in the name system, and does not in a certificate.
        host = host.removesuffix(".")
        self._options = optionsForClientTLS(host)
        numeric = isIPAddress(host) or isIPv6Address(host)
        self._name = IPAddress_ID(host) if numeric else DNS_ID(host)
        self._vouched = vouched

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        connection = self._options.clientConnectionForTLS(protocol)
        if self._vouched:
            connection.set_verify(SSL.VERIFY_PEER, self._verify)
        else:
            connection.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        return connection

    def _verify(
        self, _: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, ok: int
    ) -> bool:
        """In place of Twisted's, which lets a certificate pass whose names it cannot make out."""
        if depth or not ok:
            return bool(ok)
        try:
            verify_service_identity(extract_patterns(certificate), [self._name], [])
        except (service_identity.CertificateError, service_identity.VerificationError):
            return False
        return True


def doubtful(why: Failure) -> bool:
    """Whether a connection failed because no authority vouches for the certificate."""
    return bool(why.check(service_identity.VerificationError)) or (
        isinstance(why.value, SSL.Error) and "certificate verify failed" in str(why.value)
    )
