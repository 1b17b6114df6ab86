"""Certificates: the server's own, what is wrong with others, and which ones a client knows."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pylingo import tls
from pylingo.tls import CertificateError, Pin
from tests.test_service import parsed


def openssl(*arguments: str, **more: Any) -> str:
    """What the real openssl says to a command."""
    if shutil.which("openssl") is None:
        raise SkipTest("There is no openssl; install it.")
    done = subprocess.run(
        ["openssl", *arguments], capture_output=True, text=True, timeout=20, check=True, **more
    )
    return str(done.stdout)


class MakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_private(self) -> None:
        """The file is readable by its owner alone, however careless the process is."""
        before = os.umask(0)
        try:
            tls.make(self.path)
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_once(self) -> None:
        """What is there is never written over, nor followed to where it points."""
        self.path.write_text("mine")
        self.assertRaises(CertificateError, tls.make, self.path)
        self.assertEqual(self.path.read_text(), "mine")
        link, target = Path(self.mktemp()), Path(self.mktemp())
        link.symlink_to(target)
        self.assertRaises(CertificateError, tls.make, link)
        self.assertFalse(target.exists())

    def test_host_name(self) -> None:
        """A machine may have any name; what no certificate can have is left out."""
        for name in ("höst", "h\udcffst", "", "my_host", "x" * 70):
            self.patch(socket, "gethostname", lambda name=name: name)
            self.path.unlink(missing_ok=True)
            tls.make(self.path)
            self.assertTrue(tls.serve(self.path))
        self.patch(socket, "gethostname", lambda: "chat.example")
        self.path.unlink()
        tls.make(self.path)
        said = openssl("x509", "-in", str(self.path), "-noout", "-text")
        self.assertIn("DNS:chat.example, DNS:localhost", said)

    def test_no_place(self) -> None:
        """Where it cannot be written, the sentence says where, why, and what to do."""
        self.assertRaises(CertificateError, tls.make, Path("/dev/null/x.pem"))
        error = self.assertRaises(CertificateError, tls.make, self.path / "nowhere" / "x.pem")
        self.assertIn("nowhere", str(error))
        self.assertIn("--tls", str(error))

    def test_cut_off(self) -> None:
        """What is left of one that was cut off, whoever may read that, is not in the way."""
        half = self.path.with_name(f"{self.path.name}-new")
        half.write_text("half")
        half.chmod(0o644)
        tls.make(self.path)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertTrue(tls.serve(self.path))

    def test_no_space(self) -> None:
        """Nothing is left of one that could not be written, and in the way of the next."""

        def full(file: int, *_: object) -> None:
            os.close(file)
            raise OSError(errno.ENOSPC, "No space left on device")

        disk = self.patch(os, "fdopen", full)
        self.assertRaises(CertificateError, tls.make, self.path)
        disk.restore()
        tls.make(self.path)

    def test_openssl(self) -> None:
        """The fingerprint is the one openssl shows; the certificate is good now, and for years."""
        tls.make(self.path)
        _, shown = tls.serve(self.path)
        said = openssl("x509", "-in", str(self.path), "-noout", "-fingerprint", "-sha256")
        self.assertIn(shown, said)
        openssl("verify", "-CAfile", str(self.path), str(self.path))
        openssl("x509", "-in", str(self.path), "-noout", "-checkend", str(5 * 365 * 86_400))
        self.assertIn("localhost", openssl("x509", "-in", str(self.path), "-noout", "-text"))


class ServeTests(SynchronousTestCase):
    """Files that people give."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def made(self, *key: str) -> tuple[bytes, bytes]:
        """A key and its certificate, made by openssl as the manuals say."""
        openssl(
            "req", "-x509", "-nodes", "-days", "9", "-subj", "/CN=x", "-keyout", "key.pem", "-out",
            "cert.pem", *key, cwd=self.folder,
        )  # fmt: skip
        return (self.folder / "key.pem").read_bytes(), (self.folder / "cert.pem").read_bytes()

    def serve(self, *parts: bytes) -> str:
        path = self.folder / "both.pem"
        path.write_bytes(b"".join(parts))
        return tls.serve(path)[1]

    def refused(self, *parts: bytes) -> None:
        error = self.assertRaises(CertificateError, self.serve, *parts)
        self.assertIn("both.pem", str(error))
        self.assertIn("--tls auto", str(error))

    def test_root(self) -> None:
        """A root is a certificate that is its own issuer, and whose key is not there, if known."""
        usual = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        odd = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp160r1")
        for kind, known in ((usual, True), (odd, False)):
            self.made(*kind)
            files = [self.folder / "cert.pem", self.folder / "key.pem"]
            self.assertIsNone(tls.root(files))
            self.assertEqual(tls.root(files[:1]), files[0] if known else None)

    def test_kinds(self) -> None:
        """Keys of every usual kind will do, before the certificate or behind it."""
        for kind in (
            ("-newkey", "rsa:2048"),
            ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        ):
            key, certificate = self.made(*kind)
            self.assertEqual(self.serve(key, certificate), self.serve(certificate, key))

    def test_old_key(self) -> None:
        """So will those in the older forms that openssl still writes."""
        _, certificate = self.made("-newkey", "rsa:2048")
        old = openssl("rsa", "-in", "key.pem", "-traditional", cwd=self.folder)
        self.assertIn("BEGIN RSA", old)
        self.serve(old.encode(), certificate)
        key = openssl("ecparam", "-name", "prime256v1", "-genkey")
        self.assertIn("BEGIN EC PARAMETERS", key)
        (self.folder / "ec.pem").write_text(key)
        openssl("req", "-x509", "-new", "-key", "ec.pem", "-subj", "/CN=x", "-out", "c.pem",
                cwd=self.folder)  # fmt: skip
        self.serve(key.encode(), (self.folder / "c.pem").read_bytes())

    def test_chain(self) -> None:
        """The first certificate is the server's; others make up its chain."""
        _, other = self.made("-newkey", "rsa:2048")
        key, certificate = self.made("-newkey", "rsa:2048")
        self.assertEqual(self.serve(certificate, other, key), self.serve(certificate, key))
        path = self.folder / "chain.pem"
        path.write_bytes(certificate + other + key)
        options, _ = tls.serve(path)
        (behind,) = options.extraCertChain
        self.assertEqual(crypto.dump_certificate(crypto.FILETYPE_PEM, behind), other)

    def test_refused(self) -> None:
        """What does not fit is refused with a sentence."""
        key, certificate = self.made("-newkey", "rsa:2048")
        other, _ = self.made("-newkey", "rsa:2048")
        for parts in (
            (), (b"nonsense",), (key,), (certificate,), (certificate, other),
            (certificate, key[: len(key) // 2]), (certificate[:99], key), (b"\xff\xfe" * 99,),
        ):  # fmt: skip
            self.refused(*parts)
        self.assertRaises(CertificateError, tls.serve, self.folder / "nowhere.pem")
        self.assertRaises(CertificateError, tls.serve, self.folder)

    def test_unknown_curve(self) -> None:
        """A key of a kind that is not known here is refused with a sentence, too."""
        try:
            made = self.made("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:SM2")
        except subprocess.CalledProcessError:
            raise SkipTest("this openssl knows no such key") from None
        self.refused(*made)

    def test_encrypted_key(self) -> None:
        """A key that has a password is refused, for nobody is there to ask."""
        _, certificate = self.made("-newkey", "rsa:2048")
        locked = openssl("rsa", "-in", "key.pem", "-aes128", "-passout", "pass:x", cwd=self.folder)
        self.refused(certificate, locked.encode())


class OptionTests(SynchronousTestCase):
    def test_off(self) -> None:
        """Without the option nothing is encrypted, and no file is made."""
        database = Path(self.mktemp()).absolute()
        self.assertIsNone(parsed("--database", str(database))["certificate"])
        self.assertEqual(list(database.parent.glob("*.pem")), [])

    def test_auto(self) -> None:
        """`auto` makes a certificate beside the database on the first start, and keeps it."""
        database = Path(self.mktemp()).absolute()
        self.assertFalse(Path("pylingo.pem").exists())
        parsed("--tls", "auto", "--database", ":memory:")
        Path("pylingo.pem").unlink()
        first = parsed("--tls", "auto", "--database", f"{database}.sqlite3")["certificate"]
        path = Path(f"{database}.pem")
        made = path.read_bytes()
        again = parsed("--tls", "auto", "--database", f"{database}.sqlite3")["certificate"]
        self.assertEqual((first, made), (again, path.read_bytes()))

    def test_file(self) -> None:
        """A file is taken as it is; one that is no good ends it with a sentence."""
        path = Path(self.mktemp())
        tls.make(path)
        self.assertEqual(parsed("--tls", str(path))["certificate"], tls.serve(path)[1])
        path.write_text("nonsense")
        error = self.assertRaises(UsageError, parsed, "--tls", str(path))
        self.assertIn(str(path), str(error))


class KnownHostsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "config" / "known_hosts"

    def find(self, where: str) -> str | None:
        """The fingerprint known for a server."""
        return Pin(where, self.path).expected

    def add(self, where: str, print: str) -> None:
        """Say yes to a fingerprint."""
        pin = Pin(where, self.path)
        pin.seen = print
        pin.trust()

    def test_remembered(self) -> None:
        """What one said yes to is found again, by another process; others are not."""
        self.assertIsNone(self.find("example.org:5000"))
        self.add("example.org:5000", "AA:BB")
        self.add("[::1]:5000", "CC:DD")
        self.assertEqual(self.find("example.org:5000"), "AA:BB")
        self.assertEqual(self.find("[::1]:5000"), "CC:DD")
        self.assertIsNone(self.find("example.org:5001"))
        self.assertIsNone(self.find("xample.org:5000"))

    def test_case(self) -> None:
        """A host is the same however its name is written."""
        self.add("Example.org:5000", "AA:BB")
        self.assertEqual(self.find("example.ORG:5000"), "AA:BB")

    def test_edited(self) -> None:
        """Who edits it need not care for blanks, or for the end of the last line."""
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(
            b"# Jos\xe9\none.example:5000  AA:BB # by phone\nother.example:5000 CC:DD"
        )
        self.add("example.org:5000", "EE:FF")
        hosts = "one.example", "other.example", "example.org"
        found = [self.find(f"{host}:5000") for host in hosts]
        self.assertEqual(found, ["AA:BB", "CC:DD", "EE:FF"])

    def test_private(self) -> None:
        """Others have no business in there."""
        self.add("example.org:5000", "AA:BB")
        self.assertEqual(stat.S_IMODE(self.path.parent.stat().st_mode), 0o700)

    def test_newest(self) -> None:
        """Of two lines for a server the last one counts."""
        self.add("example.org:5000", "AA:BB")
        self.add("example.org:5000", "CC:DD")
        self.assertEqual(self.find("example.org:5000"), "CC:DD")

    def test_damaged(self) -> None:
        """Lines that are none are passed over, whatever bytes they have."""
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(b"\xff\xfe\x00 x\n\n \nnonsense\nexample.org:5000 AA:BB\n")
        self.assertEqual(self.find("example.org:5000"), "AA:BB")

    def test_no_space(self) -> None:
        """Where the disk becomes full, the file is as it was: half a line would be a lie."""
        self.add("other.example:5000", "AA:BB")
        before = self.path.read_bytes()

        class Full(io.FileIO):
            def write(self, data: Any) -> int:
                if len(data) < 9:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(data[:9])

        disk = self.patch(Path, "open", lambda path, *_, **__: Full(path, "a+"))
        error = self.assertRaises(CertificateError, self.add, "example.org:5000", "CC:DD:EE")
        disk.restore()
        self.assertIn("No space left", str(error))
        self.assertEqual(self.path.read_bytes(), before)

    def test_not_writable(self) -> None:
        """Where it cannot be remembered, the sentence says so."""
        self.path.mkdir(parents=True)
        error = self.assertRaises(CertificateError, self.add, "example.org:5000", "AA:BB")
        self.assertIn(str(self.path), str(error))


class PinTests(SynchronousTestCase):
    class Transport:
        """A connection that shows a certificate, or none."""

        def __init__(self, certificate: Any) -> None:
            self.getPeerCertificate = lambda: certificate

    def setUp(self) -> None:
        path = Path(self.mktemp())
        tls.make(path)
        options, self.print = tls.serve(path)
        self.transport = self.Transport(options.certificate)

    def pin(self, known: str | None) -> Pin:
        path = Path(self.mktemp())
        if known is not None:
            path.write_text(f"example.org:5000 {known}\n")
        return Pin("example.org:5000", path)

    def test_unknown(self) -> None:
        """An unknown certificate is refused, and seen."""
        pin = self.pin(None)
        self.assertTrue(pin(self.transport))
        self.assertEqual(pin.seen, self.print)

    def test_known(self) -> None:
        """The known one is taken."""
        self.assertEqual(self.pin(self.print)(self.transport), "")

    def test_changed(self) -> None:
        """Another one is refused, and so is none at all."""
        pin = self.pin("AA:BB")
        self.assertIn("changed", pin(self.transport))
        self.assertEqual(pin.seen, self.print)
        self.assertTrue(self.pin(self.print)(self.Transport(None)))

    def test_doubtful(self) -> None:
        """That no authority vouches for it is told from other trouble."""
        untrusted = SSL.Error([("SSL routines", "", "certificate verify failed")])
        self.assertTrue(tls.doubtful(Failure(untrusted)))
        self.assertTrue(tls.doubtful(Failure(VerificationError(errors=[]))))
        for why in (SSL.Error([("SSL routines", "", "wrong version number")]), OSError("gone")):
            self.assertFalse(tls.doubtful(Failure(why)))


class CallerTests(SynchronousTestCase):
    """What a client asks for, and whom it believes."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        openssl(
            "req", "-x509", "-nodes", "-days", "9", "-subj", "/CN=authority", "-keyout", "ca.key",
            "-out", "ca.pem", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            cwd=self.folder,
        )  # fmt: skip
        trusted = patch.dict(os.environ, SSL_CERT_FILE=str(self.folder / "ca.pem"))
        trusted.start()
        self.addCleanup(trusted.stop)

    def server(self, *names: str) -> CertificateOptions:
        """One whose certificate the authority has signed for `names`."""
        (self.folder / "names").write_text(f"subjectAltName={','.join(names)}" if names else "")
        openssl(
            "req", "-nodes", "-subj", "/CN=localhost", "-keyout", "x.key", "-out", "x.csr",
            "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", cwd=self.folder,
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", "x.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "9",
            "-CAcreateserial", "-extfile", "names", "-out", "x.pem", cwd=self.folder,
        )  # fmt: skip
        both = self.folder / "both.pem"
        parts = [(self.folder / name).read_bytes() for name in ("x.key", "x.pem")]
        both.write_bytes(b"".join(parts))
        return tls.serve(both)[0]

    def meet(self, caller: tls.Caller, server: CertificateOptions) -> bytes | None:
        """Shake hands; the result is the name that was asked for. Raises `SSL.Error`."""
        client: Any = TLSMemoryBIOFactory(caller, True, Factory.forProtocol(Protocol))
        near = caller.clientConnectionForTLS(client.buildProtocol(None))
        far = SSL.Connection(server.getContext(), None)
        near.set_connect_state()
        far.set_accept_state()
        for _ in range(4):
            for one, other in ((near, far), (far, near)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(65536))
        return far.get_servername()

    def test_no_root(self) -> None:
        """What another has signed is no root, whether its key is there or not."""
        self.server("DNS:localhost")
        names = ("x.pem", "ca.pem")
        files = [self.folder, *(self.folder / name for name in names)]
        self.assertIsNone(tls.root(files[:2]))
        self.assertEqual(tls.root(files), files[2])

    def test_vouched_for(self) -> None:
        """A certificate for the host is taken; the host is asked for by its name, not address."""
        server = self.server("DNS:localhost", "IP:127.0.0.1", "IP:::1")
        for host in ("localhost", "localhost."):
            self.assertEqual(self.meet(tls.Caller(host), server), b"localhost")
        for address in ("127.0.0.1", "::1"):
            self.assertIsNone(self.meet(tls.Caller(address), server))

    def test_not_vouched_for(self) -> None:
        """One for another host is refused, and so is one for none, or for what is no name."""
        for names in (("DNS:other.example",), (), ("DNS:*.localhost",), ("IP:127.0.0.2",)):
            server = self.server(*names)
            for host in ("localhost", "127.0.0.1"):
                error = self.assertRaises(SSL.Error, self.meet, tls.Caller(host), server)
                self.assertTrue(tls.doubtful(Failure(error)), (names, host))

    def test_signed_by_itself(self) -> None:
        """One that nobody has signed is refused, though it is for the host."""
        tls.make(self.folder / "own.pem")
        own = tls.serve(self.folder / "own.pem")[0]
        error = self.assertRaises(SSL.Error, self.meet, tls.Caller("localhost"), own)
        self.assertTrue(tls.doubtful(Failure(error)))

    def test_for_a_pin(self) -> None:
        """Where a pin looks at it, any will do; and it is the one for that name."""
        tls.make(self.folder / "own.pem")
        for server in (self.server(), tls.serve(self.folder / "own.pem")[0]):
            asked = self.meet(tls.Caller("localhost", vouched=False), server)
            self.assertEqual(asked, b"localhost")
