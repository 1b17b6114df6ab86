"""Promises kept by the real thing: TLS with other people's tools, files used up, figures, limits.

Everything here is a real server process and a real client, on 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import threading
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any

from pylingo.protocol import Closing, Message, Private, Sent, Welcome, encode
from tests.house import events, request
from tests.journey import Client, Journey, Server, until
from tests.seat import welcome

ROOT = Path(__file__).parents[1]
with_openssl = unittest.skipIf(shutil.which("openssl") is None, "There is no openssl; install it.")


class Plug:
    """A bare client: sends frames, reads events, on a socket of any kind."""

    def __init__(self, port: int, *, encrypted: bool = False) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.data = b""
        if encrypted:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def until(self, word: bytes) -> list[Any]:
        """Read until a whole event has `word` in it; the result is all of them so far."""
        while True:
            heard = self.heard()
            if any(word in encode(event) for event in heard):
                return heard
            piece = self.socket.recv(65_536)
            if not piece:
                raise AssertionError(f"the end, before {word!r}: {heard}")
            self.data += piece

    def heard(self) -> list[Any]:
        """All events that have come whole."""
        whole = 0
        while whole + 4 <= len(self.data):
            size = 4 + int.from_bytes(self.data[whole : whole + 4], "big")
            if whole + size > len(self.data):
                break
            whole += size
        return list(events(self.data[:whole]))

    def ended(self) -> bytes:
        """What is left until the server closes."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            while piece := self.socket.recv(65_536):
                rest += piece
        return rest

    def close(self) -> None:
        self.socket.close()


class Tap:
    """Stands between a client and a server, and keeps every byte that passes."""

    def __init__(self, port: int) -> None:
        self.bytes = b""
        self._target = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._door.accept()
                theirs = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [ours, theirs]
                for one, other in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                self.bytes += data
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for end in (self._door, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class SecureJourney(Journey):
    def plug(self, server: Server, *, encrypted: bool = False) -> Plug:
        plug = Plug(server.port, encrypted=encrypted)
        self.addCleanup(plug.close)
        return plug

    def fingerprint(self, server: Server) -> str:
        """What the server's log says of its certificate."""
        until(lambda: "SHA-256 fingerprint" in server.out)
        return server.out.partition("SHA-256 fingerprint ")[2].split()[0]

    def s_client(self, server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Talk to it with the real openssl, which says nothing and hangs up."""
        return subprocess.run(
            ["openssl", "s_client", "-connect", server.address, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip


class EncryptedJourneys(SecureJourney):
    @with_openssl
    def test_openssl(self) -> None:
        """The real openssl gets in, by TLS 1.2 or 1.3, sees the logged certificate; not by less."""
        server = self.serve("--tls", "auto")
        shown = self.s_client(server).stdout
        self.assertIn("BEGIN CERTIFICATE", shown)
        pem = ssl.get_server_certificate(("127.0.0.1", server.port))
        said = subprocess.run(
            ["openssl", "x509", "-noout", "-fingerprint", "-sha256"],
            input=pem, capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
        self.assertIn(self.fingerprint(server), said.stdout)
        for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            self.assertIn(name, self.s_client(server, version).stdout)
        for version in ("-tls1", "-tls1_1"):
            old = self.s_client(server, version, "-cipher", "DEFAULT@SECLEVEL=0")
            self.assertNotEqual(old.returncode, 0, old.stdout)
            self.assertIn("Cipher is (NONE)", old.stdout)
        self.assertNotIn("Traceback", server.out)

    @with_openssl
    def test_talks_to_openssl(self) -> None:
        """Frames that openssl passes on are answered."""
        server = self.serve("--tls", "auto")
        talk = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-connect", server.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(talk.wait, 20)
        self.addCleanup(talk.kill)
        assert talk.stdin is not None
        assert talk.stdout is not None
        self.addCleanup(talk.stdout.close)
        talk.stdin.write(request("hello", "openssl", 1) + request("close", "", 2))
        talk.stdin.flush()
        data = talk.stdout.read()
        talk.stdin.close()
        heard = events(data)
        self.assertIsInstance(heard[0], Welcome)
        self.assertIsInstance(heard[-1], Closing)

    def test_key(self) -> None:
        """The key is readable by its owner alone, and the same after a restart."""
        server = self.serve("--tls", "auto")
        path = self.home / "server" / "pylingo.pem"
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        first, made = self.fingerprint(server), path.read_bytes()
        server.stop()
        again = self.serve("--tls", "auto")
        self.assertEqual((self.fingerprint(again), path.read_bytes()), (first, made))
        self.assertNotIn("PRIVATE KEY", server.out + again.out)

    @with_openssl
    def test_file(self) -> None:
        """A certificate of one's own is used; a file that is none ends it with a sentence."""
        folder = self.home / "own"
        folder.mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "9", "-subj",
             "/CN=chat.example", "-keyout", "key", "-out", "cert"],
            cwd=folder, capture_output=True, timeout=20, check=True,
        )  # fmt: skip
        both = folder / "both.pem"
        both.write_bytes((folder / "cert").read_bytes() + (folder / "key").read_bytes())
        server = self.serve("--tls", str(both))
        self.assertIn("chat.example", self.s_client(server).stdout)
        both.write_text("nonsense")
        with self.assertRaises(AssertionError) as refused:
            Server(self.home / "other", "--tls", str(both))
        self.assertIn("--tls auto", str(refused.exception))
        self.assertNotIn("Traceback", str(refused.exception))

    def test_nothing_plain(self) -> None:
        """On the wire there is no plain text: no name, no password, no token, no message."""
        server = self.serve("--tls", "auto")
        tap = Tap(server.port)
        self.addCleanup(tap.close)
        plug = Plug(tap.port, encrypted=True)
        self.addCleanup(plug.close)
        words = ("ana-of-the-hills", "the-den", "correct horse battery", "under the oak")
        plug.send(
            request("name", words[0], 1), request("register", words[2], 2),
            request("join", words[1], 3), request("say", words[3], 4), request("close", "", 5),
        )  # fmt: skip
        heard = plug.until(b'"closing"')
        self.assertGreater(len(tap.bytes), 1000)
        for word in (*words, heard[0].session, "welcome", "command"):
            self.assertNotIn(word.encode(), tap.bytes)

    def test_silent_handshakes(self) -> None:
        """Handshakes that were begun and left are gone in 10 s, and block nobody meanwhile."""
        server = self.serve("--tls", "auto")
        silent = [Plug(server.port) for _ in range(50)]
        for number, plug in enumerate(silent):
            self.addCleanup(plug.close)
            if number % 2:
                plug.send(b"\x16\x03\x01\x02\x00\x01\x00\x01")
        begun = time.monotonic()
        for _ in range(5):
            good = self.plug(server, encrypted=True)
            good.send(request("hello", "", 1))
            self.assertIsInstance(good.until(b'"welcome"')[0], Welcome)
            good.close()
        self.assertLess(time.monotonic() - begun, 5)
        for plug in silent:
            self.assertLessEqual(len(plug.ended()), 64)
        self.assertLess(time.monotonic() - begun, 14)
        self.assertNotIn("Traceback", server.out)


class KnownHostsJourneys(SecureJourney):
    """The real client, whose input is redirected, never asks."""

    def known_hosts(self, whose: str = "pipes") -> Path:
        return self.home / whose / ".config" / "pylingo" / "known_hosts"

    def talk(self, server: Server) -> Client:
        """Say something, and leave; the result is the client, at its end."""
        client = self.client(
            server.address, "--tls", "--name", "bot", "--room", "lobby", "--json"
        )  # fmt: skip
        with contextlib.suppress(BrokenPipeError):
            client.write("hi\n")
            client.eof()
        client.wait()
        return client

    def test_session_is_for_tls(self) -> None:
        """A session that began over TLS is not gone on with, nor told of, without."""
        server = self.serve("--tls", "auto")
        self.known_hosts("desk").parent.mkdir(parents=True)
        self.known_hosts("desk").write_text(f"{server.address} {self.fingerprint(server)}\n")
        arguments = (server.address, "--name", "ana", "--room", "lobby")
        ana = self.terminal(*arguments, "--tls")
        ana.shows("--> You joined lobby")
        (session,) = (self.home / "desk" / "state").rglob("sessions/*")
        until(lambda: session.stat().st_size > 2)
        ana.process.kill()
        ana.wait()
        server.stop()
        with socket.create_server(("127.0.0.1", server.port)) as door:
            self.terminal(*arguments)
            peer, _ = door.accept()
            with peer:
                peer.settimeout(20)
                hello = json.loads(peer.recv(4096)[4:])
                peer.sendall(encode(welcome(re=hello["id"])))
                # The next is who to be, or which session to go on with.
                self.assertNotIn(b"resume", peer.recv(4096))

    def test_unknown(self) -> None:
        """An unknown certificate is refused with its fingerprint, and nothing was said to it."""
        server = self.serve("--tls", "auto")
        client = self.talk(server)
        self.assertEqual(client.process.returncode, 1)
        self.assertEqual(client.out, "")
        self.assertIn(self.fingerprint(server), client.err)
        self.assertEqual(len(client.err.splitlines()), 1, client.err)
        self.assertFalse(self.known_hosts().exists())
        self.assertNotIn("bot", server.out)

    def test_known_and_changed(self) -> None:
        """A known one is used; a changed one refused, telling which line to remove."""
        server = self.serve("--tls", "auto")
        self.known_hosts().parent.mkdir(parents=True)
        self.known_hosts().write_text(f"{server.address} {self.fingerprint(server)}\n")
        client = self.talk(server)
        self.assertEqual((client.process.returncode, client.err), (0, ""))
        kinds = [json.loads(line)["event"] for line in client.out.splitlines()]
        self.assertIn("sent", kinds)
        server.stop()
        (self.home / "server" / "pylingo.pem").unlink()
        again = self.serve("--tls", "auto", port=server.port)
        client = self.talk(again)
        self.assertEqual((client.process.returncode, client.out), (1, ""))
        for part in ("has changed", self.fingerprint(again), str(self.known_hosts())):
            self.assertIn(part, client.err)
        self.assertEqual(len(client.err.splitlines()), 1, client.err)
        self.assertNotIn("bot", again.out)


class DoorJourneys(SecureJourney):
    """The server's password, admins, and who gets in."""

    def test_password(self) -> None:
        """Without the password nothing is done or told, with it all is; it is in no log."""
        secret = self.home / "secret"
        secret.write_text("sésame\nnot this line\n", encoding="utf-8")
        server = self.serve("--password-file", str(secret))
        eve = self.plug(server)
        eve.send(
            request("join", "lobby", 1), request("enter", "not this line", 2),
            request("list", "", 3), request("enter", "sésame", 4), request("join", "lobby", 5),
            request("close", "", 6),
        )  # fmt: skip
        heard = {event.re: event for event in eve.until(b'"closing"')}
        self.assertEqual([heard[n].code for n in (1, 3)], ["password_required"] * 2)
        self.assertEqual(heard[2].code, "wrong_password")
        self.assertEqual(heard[5].room, "lobby")
        self.assertNotIn("sésame", server.out + server.err)

    def test_bad_file(self) -> None:
        """A password file that is empty, or not there, ends it with a sentence."""
        empty = self.home / "empty"
        empty.write_text("\nsecond line\n")
        for path in (empty, self.home / "nowhere"):
            with self.assertRaises(AssertionError) as refused:
                Server(self.home / "other", "--password-file", str(path))
            self.assertIn(str(path), str(refused.exception))
            self.assertNotIn("Traceback", str(refused.exception))

    def test_admin(self) -> None:
        """The first admin needs the option and `register`, no more; it lasts over a restart."""
        server = self.serve("--admin", "Boss")
        boss, ana = self.plug(server), self.plug(server)
        ana.send(request("name", "ana"))
        ana.until(b'"renamed"')
        boss.send(request("name", "boss"), request("announce", "no", 1))
        boss.until(b'"forbidden"')
        boss.send(request("register", "pw"), request("announce", "tea", 2))
        ana.until(b"boss to everyone: tea")
        server.stop()
        server = self.serve("--admin", "boss")
        boss, ana = self.plug(server), self.plug(server)
        ana.send(request("name", "ana"))
        ana.until(b'"renamed"')
        boss.send(request("login", "boss pw"), request("kick", "ana bye", 3))
        self.assertEqual(ana.until(b'"kicked"')[-1].reason, "kicked")
        self.assertEqual(ana.ended(), b"")

    def test_away(self) -> None:
        """What was said to a registered name comes at the next login, after a kill as well."""
        server = self.serve()
        ana, ben = self.plug(server), self.plug(server)
        ana.send(request("name", "ana"), request("register", "pw", 1), request("close", "", 2))
        ana.until(b'"closing"')
        ben.send(request("msg", "ana one", 1), request("msg", "ana two", 2))
        ben.until(b'"re":2')
        server.kill()
        server = self.serve()
        ana = self.plug(server)
        ana.send(request("login", "ana pw", 1))
        heard = ana.until(b'"two"')
        private = [(e.text, e.replayed) for e in heard if isinstance(e, Private)]
        self.assertEqual(private, [("one", True), ("two", True)])

    def test_backups(self) -> None:
        """The documented copies are whole; and what is acknowledged after one survives a kill."""
        server = self.serve()
        ana = self.plug(server)
        ana.send(request("join", "lobby", "join"))
        page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
        (backup,) = re.findall(r"^python3 (-c .*VACUUM INTO.*)$", page, re.MULTILINE)
        for count in (1, 2):
            ana.send(request("say", f"before copy {count}", count))
            ana.until(f'"re":{count}'.encode())
            command = backup.replace("copy.sqlite3", f"copy{count}.sqlite3")
            arguments = [sys.executable, *shlex.split(command)]
            subprocess.run(arguments, cwd=self.home / "server", check=True, timeout=60)
            self.assertEqual(self.said(f"copy{count}.sqlite3"), count)
        ana.send(request("say", "after them", 3))
        ana.until(b'"re":3')
        server.kill()
        self.assertEqual(self.said("pylingo.sqlite3"), 3)

    def said(self, name: str) -> int:
        """How many messages are in a database."""
        with contextlib.closing(sqlite3.connect(self.home / "server" / name)) as database:
            count: int = database.execute("SELECT count(*) FROM messages").fetchone()[0]
        return count

    def test_kept_room(self) -> None:
        """A room of a registered operator is there after a kill, with its topic, lock and bans."""
        server = self.serve()
        ana, eve = self.plug(server), self.plug(server)
        eve.send(request("name", "eve"), request("register", "pw"), request("join", "den", 9))
        ana.send(request("name", "ana"), request("register", "pw", 1))
        ana.until(b'"re":1')
        eve.until(b'"re":9')
        eve.send(request("op", "ana"), request("deop", "eve", 9))
        eve.until(b"not an operator of")
        ana.send(
            request("join", "den"), request("topic", "tea"), request("lock", "mellon"),
            request("ban", "eve spam", 2),
        )  # fmt: skip
        ana.until(b'"re":2')
        server.kill()
        server = self.serve()
        ben, eve = self.plug(server), self.plug(server)
        ben.send(
            request("list", "", 1), request("join", "den", 2), request("join", "den mellon", 3)
        )
        heard = {event.re: event for event in ben.until(b'"re":3')}
        self.assertEqual(
            [(row.name, row.topic, row.locked) for row in heard[1].rooms], [("den", "tea", True)]
        )
        self.assertEqual((heard[2].code, heard[3].topic), ("forbidden", "tea"))
        eve.send(request("login", "eve pw"), request("join", "den mellon", 4))
        self.assertIn("spam", eve.until(b'"re":4')[-1].text)


class LimitJourneys(SecureJourney):
    """One bad client, or very many, are not felt by the others."""

    def test_flood(self) -> None:
        """While one floods, another is answered in no time; the flood loses nothing."""
        server = self.serve("--rate", "200", "--burst", "40")
        bad, good = self.plug(server), self.plug(server)
        good.send(request("join", "lobby", "x"))
        good.until(b'"joined"')
        bad.send(request("join", "lobby"), *[request("say", f"n{n}", n) for n in range(400)])
        slowest = 0.0
        for number in range(20):
            begun = time.monotonic()
            good.send(request("ping", f"p{number}", f"p{number}"))
            good.until(f'"p{number}"'.encode())
            slowest = max(slowest, time.monotonic() - begun)
        self.assertLess(slowest, 1.0)
        bad.until(b'"re":399')
        heard = [event.text for event in good.until(b'"n399"') if isinstance(event, Message)]
        self.assertEqual(heard, [f"n{n}" for n in range(400)])

    def test_full(self) -> None:
        """Past the bound one is told so, and cut off; a place that is left can be had."""
        server = self.serve("--max-users", "2")
        first, second, third = (self.plug(server) for _ in range(3))
        for plug in (first, second):
            plug.send(request("hello"))
            plug.until(b'"welcome"')
        third.send(request("hello"))
        third.until(b'"server_full"')
        self.assertEqual(third.ended(), b"")
        first.send(request("close"))
        first.until(b'"closing"')
        first.close()

        def served() -> bool:
            plug = self.plug(server)
            plug.send(request("hello"))
            with contextlib.suppress(AssertionError, ConnectionError):
                plug.until(b'"welcome"')
                return True
            return False

        until(served)

    def test_full_from_one_address(self) -> None:
        """The bound on one address holds on real sockets too."""
        server = self.serve("--max-per-host", "1")
        first, second = self.plug(server), self.plug(server)
        first.send(request("hello"))
        first.until(b'"welcome"')
        second.send(request("hello"))
        second.until(b'"server_full"')

    def test_slow_reader(self) -> None:
        """One that takes nothing is let go; all the others have heard all of it, and in time."""
        server = self.serve("--rate", "0", "--database", ":memory:")  # However slow the disk is.
        deaf, talker, good = (self.plug(server) for _ in range(3))
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for plug in (deaf, talker, good):
            plug.send(request("join", "lobby", "x"))
            plug.until(b'"joined"')
        total = 900
        begun = time.monotonic()
        for number in range(total):
            talker.send(request("say", f"{number} " + "x" * 8000, number))
            if number % 20 == 19:
                good.until(f'"{number} xx'.encode())
                good.data = b""
        self.assertLess(time.monotonic() - begun, 15)
        with contextlib.suppress(ConnectionError):
            self.assertLess(len(deaf.ended()), total * 8000)
        good.send(request("users", "", "who"))
        good.until(b'"who"')

    def test_stopped(self) -> None:
        """Stopped with a thousand, some of whom read nothing: all who read are told, in time."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2000:
            raise unittest.SkipTest("It takes two thousand open files; raise the limit: ulimit -Hn")
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
        server = self.serve("--rate", "0", "--max-per-host", "0")
        plugs = [self.plug(server) for _ in range(1000)]
        for number, plug in enumerate(plugs):
            plug.send(request("join", f"room-{number % 20}", "in"))
        for plug in plugs:
            plug.until(b'"in"')
        for number, plug in enumerate(plugs[:100]):
            plug.send(*(request("say", f"{number} {n} " + "x" * 2000, n) for n in range(10)))
        plugs[0].until(b'"re":3')
        server.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        told = acknowledged = 0
        for plug in plugs[:900]:
            plug.data += plug.ended()
            heard = plug.heard()
            told += isinstance(heard[-1], Closing)
            acknowledged += sum(isinstance(event, Sent) for event in heard)
        server.wait()
        self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(told, 900)
        # Those who were cut off, too.
        self.assertEqual(server.out.count(" disconnected"), 1000)
        with contextlib.closing(
            sqlite3.connect(self.home / "server" / "pylingo.sqlite3")
        ) as database:
            (stored,) = database.execute("SELECT count(*) FROM messages").fetchone()
        self.assertEqual(stored, acknowledged)
        self.assertNotIn("Traceback", server.out + server.err)

    def test_files_used_up(self) -> None:
        """When no more files can be opened, those who are in are served, and later others too."""
        server = self.serve("--max-per-host", "0")
        # While it runs: so it does not matter what it needs to start.
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (64, 64))
        inside = self.plug(server)
        inside.send(request("join", "lobby", 1))
        inside.until(b'"joined"')
        crowd: list[socket.socket] = []
        for _ in range(120):
            one = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            self.addCleanup(one.close)
            crowd.append(one)
            with contextlib.suppress(OSError):
                one.sendall(request("hello"))
        until(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) >= 60)
        for number in range(10):
            inside.send(request("say", f"still here {number}", f"s{number}"))
            inside.until(f'"s{number}"'.encode())
        self.assertIsNone(server.process.poll())
        for one in crowd:
            one.close()
        until(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) < 40)
        late = self.plug(server)
        late.send(request("join", "lobby", 1))
        late.until(b'"joined"')
        self.assertNotIn("Traceback", server.out + server.err)
        self.assertIn(server.stop(), (0, -signal.SIGINT))

    def test_cycles(self) -> None:
        """After many have connected, talked and dropped, no file is left open."""
        server = self.serve("--linger", "0", "--rate", "0")
        steady = self.plug(server)
        steady.send(request("join", "lobby", 1))
        steady.until(b'"joined"')
        files = len(os.listdir(f"/proc/{server.pid}/fd"))
        for number in range(200):
            plug = Plug(server.port)
            plug.send(request("join", "lobby"), request("say", f"x{number}", "s"))
            plug.until(b'"s"')
            plug.close()
        until(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= files)

        def alone() -> bool:
            steady.data = b""
            steady.send(request("users", "", "again"))
            heard = [event for event in steady.until(b'"again"') if event.re == "again"]
            return bool(heard[-1].users == [steady_name])

        steady_name = steady.heard()[0].user
        until(alone)
        self.assertNotIn("Traceback", server.out + server.err)


class WatchJourneys(SecureJourney):
    def test_figures(self) -> None:
        """Figures and the health page are served, on this machine, when they are asked for."""
        server = self.serve("--metrics", "tcp:0")
        until(lambda: "Site starting on " in server.out)
        port = int(server.out.partition("Site starting on ")[2].split()[0])
        ana = self.plug(server)
        ana.send(request("join", "lobby", 1), request("say", "hi", 2))
        ana.until(b'"re":2')

        # Whatever proxy the environment names.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def page(path: str) -> str:
            with direct.open(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                return str(answer.read().decode())

        text = page("metrics")
        self.assertIn("pylingo_users 1.0", text)
        self.assertIn("pylingo_messages_total 1.0", text)
        self.assertEqual(page("health"), "ok\n")

    def test_off(self) -> None:
        """Otherwise nothing but the chat listens."""
        server = self.serve()
        self.assertNotIn("Site starting", server.out)
