"""Journeys: a real server, real clients with pipes and on pseudo-terminals.

Each is something that a person does, from the command line to what is seen.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import unittest
from functools import partial

from pylingo.protocol import Request, encode
from tests.journey import TWISTD, Journey, Process, Server, Terminal, surroundings, until

LEFT, TAB, UP = "\x1b[D", "\t", "\x1b[A"
CTRL_C, CTRL_D, ALT_ENTER = "\x03", "\x04", "\x1b\r"


class PipeJourneys(Journey):
    """Clients with redirected input and output."""

    def test_every_command(self) -> None:
        """Three people use every command once, and see what comes of it."""
        server = self.serve()
        ana, bob, cid = (self.client(server.address) for _ in range(3))
        for name, who in (("ana", ana), ("bob", bob), ("cid", cid)):
            who.write(f"/hello test\n/name {name}\n")
            who.prints(f"-- You are now {name}.")
        ana.write("/create lobby\n")
        ana.prints("--> You joined lobby: nobody else is here")
        ana.write("hello nobody\n")
        for name, who in (("bob", bob), ("cid", cid)):
            who.write("/join #Lobby\n")
            who.prints("--> You joined lobby: ana")
            ana.prints(f"--> {name} joined lobby")
            who.prints("<ana> hello nobody")
        bob.write("good morning\n/me waves\n/msg ana psst\n")
        ana.prints("<bob> good morning")
        ana.prints("* bob waves")
        ana.prints("[bob -> you] psst")
        cid.prints("* bob waves")
        ana.write("/users\n/who\n/list\n/rooms\n/help\n/history 1\n/ping x\n/pong\n")
        ana.prints("-- In lobby (3): ana, bob, cid")
        ana.prints("-- lobby (3 users)")
        ana.prints("/join ROOM")
        ana.prints("-- 1 message in lobby:")
        cid.write("/name sid\n/leave\n")
        ana.prints("-- cid is now sid")
        ana.prints("<-- sid left lobby")
        cid.prints("<-- You left lobby")
        cid.write("/resume nonsense 0\n")
        until(lambda: "That session has ended" in cid.err)
        cid.eof()
        self.assertEqual(cid.wait(), 1, "a command was refused")
        for who in (bob, ana):
            who.write("/close\n")
            self.assertEqual((who.wait(), who.err), (0, ""))
            who.prints("-- Bye.")
        self.assertNotIn("psst", cid.out)
        self.assertNotIn("Traceback", server.out + server.err)

    def test_echo(self) -> None:
        """`echo hi | pylingo --room lobby` says hi, and exits 0 when it is stored."""
        server = self.serve()
        teller = self.client(server.address, "--room", "lobby")
        teller.write("hi\n")
        teller.eof()
        self.assertEqual((teller.wait(), teller.err), (0, ""))
        reader = self.client(server.address, "--room", "lobby", stdin=subprocess.DEVNULL)
        self.assertEqual(reader.wait(), 0)
        self.assertIn("<guest-1> hi", reader.out)

    def test_many_lines(self) -> None:
        """A file of many lines is sent to its end, in order, before the client ends."""
        server = self.serve("--rate", "0")
        lines = [f"line {number}" for number in range(1000)]
        file = self.home / "lines"
        file.write_text("\n".join(lines))
        bob = self.person(server, "bob")
        with file.open() as stdin:
            teller = self.client(server.address, "-n", "ana", "-r", "lobby", stdin=stdin)
        self.assertEqual((teller.wait(), teller.err), (0, ""))
        bob.prints(lines[-1])
        said = [line.partition("<ana> ")[2] for line in bob.out.splitlines() if "<ana>" in line]
        self.assertEqual(said, lines)

    def test_json(self) -> None:
        """With --json, every event is a line of JSON."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.client(server.address, "--name", "ana", "--room", "lobby", "--json")
        ana.prints('"joined"')
        bob.write("one\n")
        ana.prints('"message"')
        ana.write("two\n/list\n")
        ana.eof()
        self.assertEqual((ana.wait(), ana.err), (0, ""))
        events = [json.loads(line) for line in ana.out.splitlines()]
        kinds = [event["event"] for event in events]
        self.assertEqual(kinds[:4], ["welcome", "renamed", "joined", "message"])
        self.assertEqual({"sent", "rooms", "closing"} - set(kinds), set())
        self.assertEqual(events[3]["text"], "one")

    def test_refused_command(self) -> None:
        """What is refused is a sentence on standard error; the status is 1."""
        server = self.serve()
        client = self.client(server.address)
        client.write("/dance\n/list\n")
        client.eof()
        self.assertEqual(client.wait(), 1)
        self.assertIn("pylingo: There is no command /dance.", client.err)
        self.assertIn("There are no rooms yet", client.out)

    def test_taken_name(self) -> None:
        """A name that is taken ends it with one sentence."""
        server = self.serve()
        self.person(server, "ana")
        other = self.client(server.address, "--name", "ana", stdin=subprocess.DEVNULL)
        self.assertEqual(other.wait(), 1)
        (complaint,) = other.err.splitlines()
        self.assertIn("The name ana is taken", complaint)

    def test_server_stops(self) -> None:
        """Ctrl-C at the server: every client says so in a sentence, and exits with 1."""
        server = self.serve()
        people = [self.person(server, name) for name in ("ana", "bob", "cid")]
        began = time.monotonic()
        self.assertIn(server.stop(signal.SIGINT), (0, -signal.SIGINT))
        self.assertLess(time.monotonic() - began, 2, "nobody held it up")
        for person in people:
            self.assertEqual(person.wait(), 1)
            self.assertIn("The server is shutting down. Start pylingo again", person.err)
            self.assertEqual(len(person.err.splitlines()), 1, person.err)

    def test_server_stops_twice(self) -> None:
        """Who stops a group of processes sends two signals; that is no hurry."""
        server = self.serve()
        ana = self.person(server, "ana")
        server.process.send_signal(signal.SIGTERM)
        server.stop(signal.SIGTERM)
        self.assertEqual(ana.wait(), 1)
        self.assertIn("The server is shutting down. Start pylingo again", ana.err)

    def test_server_loses_its_terminal(self) -> None:
        """A terminal that is closed ends the server as Ctrl-C does."""
        server = self.serve()
        ana = self.person(server, "ana")
        self.assertEqual(server.stop(signal.SIGHUP), 0)
        self.assertEqual(ana.wait(), 1)
        self.assertIn("The server is shutting down. Start pylingo again", ana.err)
        self.assertNotIn("Traceback", server.out + server.err)

    def test_server_killed(self) -> None:
        """A server that is gone without a word is told in a sentence too."""
        server = self.serve()
        ana = self.person(server, "ana")
        server.kill()
        self.assertEqual(ana.wait(), 1)
        (complaint,) = ana.err.splitlines()
        self.assertIn(server.address, complaint)

    def test_nobody_there(self) -> None:
        """No server, or no such host: one sentence that says what to do, and status 1."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            refused = self.client(f"127.0.0.1:{bound.getsockname()[1]}", stdin=subprocess.DEVNULL)
            self.assertEqual(refused.wait(), 1)
        (complaint,) = refused.err.splitlines()
        self.assertIn("Start the server", complaint)
        # Also where those who should know answer nothing at all, it is over soon.
        unknown = self.client(
            "no-such-host.invalid", stdin=subprocess.DEVNULL,
            environment={"RES_OPTIONS": "timeout:1 attempts:1"},
        )  # fmt: skip
        self.assertEqual(unknown.wait(), 1)
        (complaint,) = unknown.err.splitlines()
        self.assertIn("no-such-host.invalid", complaint)
        self.assertEqual(refused.out + unknown.out, "")

    def test_silent_name_server(self) -> None:
        """Nobody has to wait for the answer of a name server."""
        # One that says nothing for a minute, which is longer than a test may wait.
        program = (
            "import socket, time; from pylingo.client import main\n"
            "socket.getaddrinfo = lambda *_: print('asked', flush=True) or time.sleep(60)\n"
            "main(['host.invalid'])"
        )
        asking = Process(["-c", program], self.home / "pipes", stdin=subprocess.DEVNULL)
        self.addCleanup(asking.kill)
        asking.prints("asked")
        asking.process.send_signal(signal.SIGINT)
        self.assertEqual(asking.wait(), 1)

    def test_not_our_server(self) -> None:
        """What is no PyLingo server is told from one, also if it never says a word."""
        # How long it may be mute is looked at without a network.
        program = (
            "import sys; from pylingo import client, connection\n"
            "connection.FIRST_EVENT = connection.PULSE = 0.5\n"
            "client.main(sys.argv[1:])"
        )
        for words in (b"", b"SSH-2.0-OpenSSH_9.2\r\n"):
            with socket.create_server(("127.0.0.1", 0)) as other:
                other.settimeout(10)
                client = Process(
                    ["-c", program, f"127.0.0.1:{other.getsockname()[1]}"],
                    self.home / "pipes", stdin=subprocess.DEVNULL,
                )  # fmt: skip
                self.addCleanup(client.kill)
                peer, _ = other.accept()
                with peer:
                    peer.sendall(words)
                    self.assertEqual(client.wait(), 1)
            (complaint,) = client.err.splitlines()
            self.assertIn("not a PyLingo server", complaint)

    def test_shared_terminal(self) -> None:
        """What it reads, the shell and others read after it, or beside it, and expect to wait."""
        server = self.serve()
        keys, shared = os.openpty()
        self.addCleanup(os.close, keys)
        self.addCleanup(os.close, shared)
        client = self.client(server.address, "--room", "lobby", stdin=shared)
        client.prints("--> You joined lobby")
        self.assertTrue(os.get_blocking(shared))
        os.write(keys, b"hi\n\x04")
        self.assertEqual(client.wait(), 0)
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        client = self.client(server.address, stdin=read)
        os.write(write, b"/join lobby\n")
        os.close(write)
        self.assertEqual(client.wait(), 0)
        self.assertTrue(os.get_blocking(read))
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        client = self.client(
            server.address, "--room", "lobby", stdin=subprocess.DEVNULL, stdout=write
        )
        self.assertTrue(select.select([read], [], [], 30)[0])
        self.assertTrue(os.get_blocking(write))
        self.assertEqual(client.wait(), 0)

    def test_full_disk(self) -> None:
        """Output that cannot be written ends it, with a sentence."""
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full here")
        server = self.serve()
        with open("/dev/full", "wb") as full:
            client = self.client(server.address, "--room", "lobby", stdout=full)
            self.assertEqual(client.wait(), 1)
        (complaint,) = client.err.splitlines()
        self.assertIn("The output cannot be written", complaint)

    def test_closed_pipe(self) -> None:
        """So does a pipe that nobody reads any more, as in `pylingo | head -1`."""
        server = self.serve()
        read, write = os.pipe()
        client = self.client(server.address, "--room", "lobby", stdout=write)
        os.close(write)
        os.read(read, 1)
        os.close(read)
        self.person(server, "bob").write("anybody?\n")
        self.assertEqual(client.wait(), 1)
        self.assertEqual(client.err, "")

    def test_dumb_terminal(self) -> None:
        """A terminal that cannot move its cursor gets lines, and nothing else."""
        server = self.serve()
        for term in ("dumb", "unknown"):
            ana = self.terminal(server.address, "--name", term, "--room", term, term=term)
            ana.shows(f"--> You joined {term}: nobody else is here")
            ana.type("/users\n")
            ana.shows(f"-- In {term} (1): {term}")
            self.assertNotIn(b"\x1b", ana.raw)
            ana.type("x" * 5000 + "\n")
            ana.shows("The terminal cuts lines at 4095 bytes.")

    def test_dumb_terminal_refused(self) -> None:
        """There, too, a person who is refused a name, or a room, can do something about it."""
        server = self.serve()
        ana = self.person(server, "ana", "tea")
        ana.write("hello\n/register sesamesesame\n/lock sesame\n")
        ana.prints("-- tea is locked now")
        self.client(server.address, "--name", "bob", "--room", "tea sesame").prints("You joined")
        ana.eof()
        self.assertEqual(ana.wait(), 0)
        again = self.terminal(server.address, "--name", "ana", "--room", "tea", term="dumb")
        again.shows("The name ana is registered. If it is yours: /login")
        again.type("/login ana sesamesesame\n")
        again.shows("-- You are logged in as ana.")
        again.type("/join tea sesame\n")
        again.shows("--> You joined tea: bob, ana")
        again.shows("-- What was said here before")

    def test_name_free_again(self) -> None:
        """Who ends with nobody to read it, or by a signal, leaves no ghost that has the name."""
        server = self.serve()
        bob = self.person(server, "bob")
        ends = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, None
        for end in ends:
            read, write = os.pipe()
            client = self.client(server.address, "--name", "ana", "--room", "lobby", stdout=write)
            os.close(write)
            os.read(read, 1)
            if end is not None:
                client.process.send_signal(end)
            else:
                os.close(read)
                bob.write("anybody?\n")
            self.assertEqual((client.wait(), client.err), (1, ""))
            if end is not None:
                os.close(read)
        bob.eof()
        bob.wait()
        self.assertEqual(bob.out.count("<-- ana left lobby (bye)"), len(ends))

    def test_closed_streams(self) -> None:
        """Streams that who started it has closed are as good as empty."""
        server = self.serve()
        bob = self.person(server, "bob")
        for number in range(3):
            line = "hi\n" if number else ""
            ana = self.client(
                server.address, "-n", "ana", "-r", "lobby", preexec_fn=partial(os.close, number)
            )
            if line:
                ana.write(line)
            ana.eof()
            self.assertEqual((ana.wait(), ana.err), (0, ""))
        bob.eof()
        bob.wait()
        self.assertEqual(bob.out.count("<ana> hi"), 2)

    def test_locked_database(self) -> None:
        """A database that another program keeps locked keeps no server from ending in time."""
        server = self.serve()
        ana = self.person(server, "ana")
        # This one neither reads nor goes.
        peer = socket.create_connection(("127.0.0.1", server.port))
        self.addCleanup(peer.close)
        other = sqlite3.connect(self.home / "server" / "pylingo.sqlite3", isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        peer.sendall(encode(Request("join", "lobby")))
        ana.prints("guest-2 joined lobby")
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        server.wait()
        self.assertLess(time.monotonic() - began, 5)
        self.assertNotIn("Traceback", server.out)

    def test_nothing_left_behind(self) -> None:
        """A client with pipes writes no file."""
        server = self.serve()
        client = self.client(server.address, home="clean", stdin=subprocess.DEVNULL)
        self.assertEqual(client.wait(), 0)
        names = {path.name for path in (self.home / "clean").iterdir()}
        self.assertEqual(names, {"out0", "err0"})


class TalkJourneys(Journey):
    """Somebody at a real terminal, in a room."""

    def test_message_while_typing(self) -> None:
        """Somebody talks while one types in the middle of a line: nothing gets mixed up."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.seat(server)
        ana.type("hello world" + LEFT * 5)
        ana.before("[lobby] ana> hello ")
        bob.write("hi there\nana: are you there?\n")
        ana.until(lambda glass: glass.order("<bob> hi there", "» <bob> ana: are", "> hello world"))
        ana.before("[lobby] ana> hello ")
        self.assertEqual(ana.glass.bells, 1)
        ana.type("my \r")
        bob.prints("<ana> hello my world")
        ana.until(lambda glass: glass.order("<bob> hi there", "[ana] hello my world"))
        ana.before("[lobby] ana> ")

    def test_wide_characters(self) -> None:
        """Wide and combining characters and emoji keep their columns, typed and received."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.seat(server)
        ana.type("日本語")
        ana.until(lambda glass: glass.cursor.x == len("[lobby] ana> ") + 6)
        bob.write("漢字 e\u0301 👋 שלום\n")
        ana.shows("<bob> 漢字")
        ana.until(lambda glass: glass.cursor.x == len("[lobby] ana> ") + 6)
        ana.type(LEFT + "X\r")
        bob.prints("<ana> 日本X語")

    def test_resize(self) -> None:
        """The window may be made narrower and wider; what is typed stays."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.seat(server, columns=80)
        text = "a line of some length that does not fit in forty columns"
        ana.type(text)
        ana.until(lambda glass: glass.row.endswith("columns"))
        ana.resize(40, 16)
        ana.until(lambda glass: glass.before.endswith("columns") and len(glass.before) < 40)
        bob.write("still here?\n")
        ana.shows("<bob> still here?")
        ana.resize(90, 20)
        ana.before(f"[lobby] ana> {text}")
        ana.until(lambda glass: sum("not encrypted" in row for row in glass.rows) >= 1)
        ana.type("\r")
        bob.prints(f"<ana> {text}")

    def test_paste(self) -> None:
        """A pasted block of several lines is one message."""
        server = self.serve()
        bob = self.client(server.address, "--name", "bob", "--room", "lobby", "--json")
        bob.prints('"joined"')
        ana = self.seat(server)
        ana.type("\x1b[200~def f():\r    return 1\r\x1b[201~")
        ana.shows("def f():", "    return 1")
        ana.type(f"# end{ALT_ENTER}# of it\r")
        bob.prints('"message"')
        (message,) = [
            event for event in map(json.loads, bob.out.splitlines()) if event["event"] == "message"
        ]
        self.assertEqual(message["text"], "def f():\n    return 1\n# end\n# of it")

    def test_completion(self) -> None:
        """Tab completes commands, with their help, and names; a message leaves the menu open."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.seat(server)
        ana.type("/l" + TAB)
        ana.shows("/list", "List the rooms", "/leave")
        bob.write("hi there\n")
        ana.until(lambda glass: glass.order("<bob> hi there", "ana> /l", "List the rooms"))
        ana.type("\x7f\x7fbo")
        ana.before("[lobby] ana> bo")
        ana.type(TAB)
        ana.before("[lobby] ana> bob: ")
        ana.type("yes\r")
        bob.prints("<ana> bob: yes")

    def test_hostile_text(self) -> None:
        """What others say drives nobody's terminal."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.seat(server)
        bob.write("x\x1b]0;owned\x07\x1b[2J\x9by\n")
        ana.shows("<bob> x]0;owned[2Jy")
        self.assertNotIn(b"\x1b]0;owned", ana.raw)

    def test_plain(self) -> None:
        """With --no-color it is the same without colours."""
        server = self.serve()
        ana = self.terminal(server.address, "-n", "ana", "-r", "lobby", "--no-color")
        ana.before("[lobby] ana> ")
        self.assertNotRegex(ana.raw, rb"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])(?:;\d+)*m")


class LobbyJourneys(Journey):
    """Somebody at a real terminal, on the way in."""

    def again(self, server: Server, name: str) -> Terminal:
        """The next run of who was in the lobby room, and missed what bob said there."""
        again = self.terminal(server.address, "--name", name)
        again.shows("-- What you missed:", "<bob> did you hear?")
        again.before(f"[lobby] {name}> ")
        return again

    def test_menu(self) -> None:
        """Asked for a name, then the menu: make a room, leave it, find it in the list, go."""
        server = self.serve()
        ana = self.terminal(server.address, rows=40)
        ana.before("Your name [guest-1]: ")
        ana.type("ana\r")
        ana.shows("1  create a room", "2  join a room", "3  list the rooms", "4  exit")
        ana.before("ana> ")
        ana.type("1\r")
        ana.before("Name of the new room: ")
        ana.type("kitchen\r")
        ana.before("[kitchen] ana> ")
        bob = self.person(server, "bob", "attic")
        ana.type("exit\r")
        ana.shows("<-- You left kitchen")
        ana.before("ana> ")
        ana.type("2\r")
        ana.shows("1  attic (1 user)")
        ana.before("Which room? ")
        ana.type("1\r")
        bob.prints("--> ana joined attic")
        ana.before("[attic] ana> ")
        ana.type("/say exit\r")
        bob.prints("<ana> exit")
        ana.type("/leave\r")
        ana.before("ana> ")
        ana.type("4\r")
        self.assertEqual(ana.wait(), 0)
        self.assertTrue(ana.as_found)

    def test_taken_name(self) -> None:
        """A name that is taken is asked for again."""
        server = self.serve()
        self.person(server, "ana")
        other = self.terminal(server.address)
        other.shows("Your name")
        other.type("ana\r")
        other.shows("!! The name ana is taken", "Another name")
        other.type("\r")
        other.until(lambda glass: glass.shows("4  exit"))

    def test_next_run(self) -> None:
        """The next run knows the lines of this one, the room, and what was missed meanwhile."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.seat(server)
        ana.type("remember this\r")
        bob.prints("<ana> remember this")
        ana.shows("[ana] remember this")
        ana.process.send_signal(signal.SIGTERM)
        ana.wait()
        bob.write("did you hear?\n/list\n")
        bob.prints("-- lobby")
        again = self.again(server, "ana")
        self.assertFalse(again.glass.shows("[ana] remember this"))
        again.type(UP)
        again.before("[lobby] ana> remember this")
        private = [p for p in (self.home / "desk" / "state").rglob("*") if p.is_file()]
        self.assertEqual({p.stat().st_mode & 0o077 for p in private}, {0})

    def test_next_run_after_a_dead_terminal(self) -> None:
        """What met a terminal that answered no more is told again, and the session goes on."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.seat(server)
        bob.write("did you hear?\n/msg ana and this?\n")
        ana.swallow("and this?")
        ana.hang_up()
        ana.wait()
        again = self.again(server, "ana")
        again.shows("--> You are back in lobby", "[bob -> you] and this?")

    def test_next_run_too_early(self) -> None:
        """Where the run before still has the name, one is told, and has it when that has ended."""
        server = self.serve()
        ana = self.seat(server)
        again = self.terminal(server.address, "--name", "ana")
        again.shows("!! The name ana is taken", "Another pylingo of yours")
        ana.process.kill()
        ana.wait()
        again.type("ana\r")
        again.shows("--> You are back in lobby")

    def test_next_run_beside_the_one_before(self) -> None:
        """Who has got the name from a run that is stopped is not told to end that for it."""
        server = self.serve("--linger=0")
        self.person(server, "bob")
        ana = self.seat(server)
        ana.process.send_signal(signal.SIGSTOP)
        eve = self.person(server, "eve", room="attic")
        (file,) = (self.home / "desk" / "state").rglob("sessions/*")
        until(lambda: file.stat().st_size > 2)
        eve.write(f"/resume {json.loads(file.read_text())['session']} 0\n/quit\n")
        self.assertEqual(eve.wait(), 0)
        other = self.seat(server)
        other.type("/name bob\r/ping\r")
        other.shows("!! The name bob is taken", "-- The server is there.")
        self.assertFalse(other.glass.shows("Another pylingo of yours"))

    def test_next_run_by_another_name(self) -> None:
        """Who took another name is found by that one, and not by the one before."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana = self.seat(server)
        ana.type("/name eve\r")
        ana.before("[lobby] eve> ")
        ana.process.kill()
        ana.wait()
        bob.write("did you hear?\n/list\n")
        bob.prints("-- lobby")
        other = self.seat(server)
        other.shows("<bob> did you hear?")
        self.assertFalse(other.glass.shows("What you missed"))
        other.type("/quit\r")
        other.wait()
        self.again(server, "eve")

    def test_next_run_after_two(self) -> None:
        """What two terminals were, one after the other, is remembered of the second."""
        server = self.serve()
        bob = self.person(server, "bob")
        ana, other = self.seat(server), self.seat(server, "eve")
        ana.type("/register sesame\r")
        ana.shows("is yours now")
        other.type("/login ana sesame\r")
        other.before("[lobby] ana> ")
        ana.wait()

        def remembered() -> list[int]:
            sessions = (self.home / "desk").rglob("sessions/*")
            return sorted(bool(one.stat().st_size) for one in sessions)

        until(lambda: remembered() == [0, 1])
        other.process.kill()
        other.wait()
        bob.write("did you hear?\n/list\n")
        bob.prints("-- lobby")
        self.again(server, "ana")


class LinkJourneys(Journey):
    """The server goes away and comes back."""

    def test_killed_while_typing(self) -> None:
        """It is killed while one types: the text stays, the room too, what was said arrives."""
        server = self.serve()
        ana = self.seat(server, columns=100)
        ana.type("before\r")
        ana.shows("[ana] before")
        ana.type("half a li")
        server.kill()
        ana.shows("!! Not connected", "not connected, trying")
        ana.before("[lobby] ana> half a li")
        ana.type("ne\r")
        ana.shows("half a line (sending)")
        ana.type("and some mo")
        self.serve(port=server.port)
        ana.shows("Connected again")
        ana.until(lambda glass: not glass.shows("(sending)"))
        ana.shows("[ana] half a line")
        ana.before("[lobby] ana> and some mo")
        bob = self.person(server, "bob")
        bob.prints("<ana> half a line")
        ana.type("re\r")
        bob.prints("<ana> and some more")
        self.assertEqual(bob.out.count("half a line"), 1)

    def test_ctrl_c_in_a_pause(self) -> None:
        """One Ctrl-C in a pause ends it at once."""
        server = self.serve()
        ana = self.seat(server)
        server.kill()
        ana.shows("!! Not connected")
        ana.type(CTRL_C)
        ana.wait()
        self.assertTrue(ana.as_found)

    def test_nobody_there(self) -> None:
        """No server at the start: one sentence, status 1, and a terminal as it was."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            ana = self.terminal(f"127.0.0.1:{bound.getsockname()[1]}", columns=200)
            self.assertEqual(ana.wait(), 1)
        ana.draw()
        (complaint,) = [row for row in ana.glass.rows if row]
        self.assertIn("Start the server", complaint)
        self.assertTrue(ana.as_found)


class SecretJourneys(Journey):
    """Passwords and certificates."""

    def test_server_password(self) -> None:
        """A server's password is asked for, unseen; a program has it from its environment."""
        file = self.home / "password"
        file.write_text("sesame\n")
        server = self.serve("--password-file", str(file))
        ana = self.terminal(server.address, "--name", "ana", "--room", "lobby", columns=100)
        ana.before("The server's password: ")
        ana.type("please\r")
        ana.shows("!! ")
        ana.before("The server's password: ")
        ana.type("sesame\r")
        ana.before("[lobby] ana> ")
        self.assertNotIn(b"sesame", ana.raw)
        without = self.client(server.address, stdin=subprocess.DEVNULL)
        self.assertEqual(without.wait(), 1)
        self.assertIn("PYLINGO_PASSWORD", without.err)
        bob = self.client(
            server.address, "-n", "bob", "-r", "lobby", environment={"PYLINGO_PASSWORD": "sesame"}
        )
        bob.prints("--> You joined lobby: ana, bob")

    def test_own_name(self) -> None:
        """A name that was registered is got back with its password, which nobody sees."""
        server = self.serve()
        ana = self.seat(server)
        ana.type("/register\r")
        for question in ("Password (Ctrl-C cancels): ", "The same password again: "):
            ana.before(question)
            ana.type("open sesame\r")
        ana.before("[lobby] ana> ")
        ana.type("/close\r")
        self.assertEqual(ana.wait(), 0)
        other = self.terminal(server.address)
        other.shows("Your name")
        other.type("ana\r")
        question = "The password of ana, or nothing for another name: "
        other.before(question)
        other.type("a guess\r")
        other.shows("!! That is not the password")
        other.type("\r")
        other.until(lambda glass: glass.before.startswith("Another name"))
        other.type("/login ana\r")
        other.before("Password (Ctrl-C cancels): ")
        other.type("open sesame\r")
        other.until(lambda glass: "ana" in glass.before and "guest" not in glass.before)
        again = self.terminal(server.address, "-n", "ana", "-r", "lobby")
        again.before(question)
        again.type("open sesame\r")
        again.before("[lobby] ana> ")
        self.assertNotIn(b"sesame", ana.raw + other.raw + again.raw)
        for file in (self.home / "desk").rglob("*"):
            if file.is_file():
                self.assertNotIn(b"sesame", file.read_bytes(), file)

    def test_not_own_name(self) -> None:
        """Who could not have a name is not remembered as having it."""
        server = self.serve()
        ana = self.seat(server)
        ana.type("/register sesame\r")
        ana.shows("ana is yours now")
        ana.type("/close\r")
        self.assertEqual(ana.wait(), 0)
        for _ in range(2):
            other = self.terminal(server.address, "-n", "ana")
            other.until(lambda glass: glass.before.startswith("The password of ana"))
            other.type("\r")
            other.until(lambda glass: glass.before.startswith("Another name [guest-"))
            other.type("\r")
            other.until(lambda glass: glass.before.startswith("guest-"))
            other.process.send_signal(signal.SIGTERM)
            other.wait()

    def test_certificate(self) -> None:
        """An unknown certificate is shown and remembered after a yes; a changed one refused."""
        server = self.serve("--tls", "auto")
        ana = self.terminal(
            server.address, "--tls", "-n", "ana", "-r", "lobby", columns=110, rows=20
        )
        until(lambda: "SHA-256 fingerprint" in server.out)
        fingerprint = server.out.partition("SHA-256 fingerprint ")[2].split()[0]
        ana.shows(fingerprint, "[yes/no]")
        ana.type("yes\r")
        ana.before("[lobby] ana> ")
        ana.shows("| encrypted")
        ana.type("/close\r")
        self.assertEqual(ana.wait(), 0)
        known = self.client(
            server.address, "--tls", "-n", "ana", "-r", "lobby", home="desk",
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.assertEqual((known.wait(), known.err), (0, ""))
        server.stop()
        (self.home / "server" / "pylingo.pem").unlink()
        self.serve("--tls", "auto", port=server.port)
        again = self.terminal(server.address, "--tls", "-n", "ana", columns=200)
        self.assertEqual(again.wait(), 1)
        again.shows("has changed")
        self.assertTrue(again.as_found)

    def test_no(self) -> None:
        """After a no, nothing was said to that server, and nothing is remembered."""
        server = self.serve("--tls", "auto")
        ana = self.terminal(server.address, "--tls", "-n", "ana", columns=110)
        ana.until(lambda glass: glass.before.endswith("[yes/no] "))
        ana.type("no\r")
        self.assertEqual(ana.wait(), 1)
        self.assertTrue(ana.as_found)
        self.assertNotIn("is now ana", server.out)
        again = self.terminal(server.address, "--tls", "-n", "ana", columns=110)
        again.shows("[yes/no]")

    def test_wrong_door(self) -> None:
        """Encrypted to a server that is not, or the other way: a sentence, not a wait for ever."""
        plain, encrypted = self.serve(), Server(self.home / "other", "--tls", "auto")
        self.addCleanup(encrypted.kill)
        first = self.client(plain.address, "--tls", stdin=subprocess.DEVNULL)
        second = self.client(encrypted.address, stdin=subprocess.DEVNULL)
        for client, advice in ((first, "Try without --tls"), (second, "Try --tls")):
            self.assertEqual(client.wait(), 1)
            (complaint,) = client.err.splitlines()
            self.assertIn(advice, complaint)


class BackgroundJourneys(Journey):
    """A server in the background."""

    def test_port_taken(self) -> None:
        """One that cannot listen tells the shell, which goes on."""
        server = self.serve()
        place = self.home / "background"
        place.mkdir()
        ended = subprocess.run(
            [sys.executable, *TWISTD, "pylingo", f"--port={server.port}", "--interface=127.0.0.1"],
            cwd=place, env=surroundings(place), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual(ended.returncode, 1)
        self.assertIn(str(server.port), (ended.stdout + ended.stderr).decode())
        # The shell is told before the process in the background has put its things away.
        until(lambda: not (place / "twistd.pid").exists())


class JobJourneys(Journey):
    """A client as a job of a shell."""

    def stopped(self, then: str) -> Terminal:
        """Begun in the background and stopped by somebody; `then` is what the shell does."""
        bash = shutil.which("bash")
        if bash is None:
            raise unittest.SkipTest("There is no bash; install it.")
        script = f'set -m; "$@" & echo $! >job; fg; {then}; echo "it ends"'
        ana = self.terminal(
            self.serve().address, "--name", "ana", "--room", "lobby",
            shell=(bash, "-c", script, bash),
        )  # fmt: skip
        ana.shows("--> You joined lobby")
        # When that is seen nothing is left to be read, which would stop it in the background.
        ana.type("typed")
        ana.before("[lobby] ana> typed")
        os.kill(int((self.home / "desk" / "job").read_text()), signal.SIGSTOP)
        return ana

    def test_ended_while_stopped(self) -> None:
        """It ends when the shell says so."""
        ana = self.stopped("kill %1; kill -CONT %1; wait -f %1")
        ana.shows("it ends")
        self.assertFalse(ana.glass.shows("Traceback"), ana.glass.rows)

    def test_goes_on(self) -> None:
        """It goes on where it was, and the terminal gives keys as before."""
        ana = self.stopped('stty sane; echo "it stopped"; fg')
        ana.until(lambda glass: glass.order("it stopped", " connected"))
        ana.type("!")
        ana.before("[lobby] ana> typed!")
        ana.type("\x15/quit\r")
        ana.shows("it ends")


class HomeJourneys(Journey):
    """A home that is not as it should be."""

    def test_history_hangs(self) -> None:
        """What was typed is waited for at the end, on a slow disk; a signal ends that."""
        ana = self.seat(self.serve())
        history = next((self.home / "desk").glob("**/history"))
        history.unlink()
        os.mkfifo(history)
        ana.type("hello\r")
        ana.shows("[ana] hello")
        ana.type("\x04")
        until(lambda: ana.as_found)
        self.assertIsNone(ana.process.poll())

        def ended() -> bool:
            # The first may come before it waits.
            ana.process.send_signal(signal.SIGTERM)
            return ana.process.poll() is not None

        until(ended)

    def test_nowhere_to_remember(self) -> None:
        """Where nothing can be written, the client works all the same, and remembers nothing."""
        desk = self.home / "desk"
        desk.mkdir(parents=True)
        (desk / "state").write_text("in the way")
        ana = self.seat(self.serve())
        ana.type("hello\r")
        ana.shows("[ana] hello")
        ana.type("\x04")
        self.assertEqual(ana.wait(), 0)
        ana.draw()
        self.assertFalse(ana.glass.shows("Traceback"), ana.glass.rows)


class EndJourneys(Journey):
    """Whatever way it ends, the terminal is left as it was found."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.serve()
        self.ana = self.seat(self.server)
        self.assertFalse(self.ana.as_found, "it is in use")
        self.ana.type("typed")
        self.ana.before("[lobby] ana> typed")

    def ended(self) -> int:
        """The exit status, after a look at what is left."""
        status = self.ana.wait()
        self.ana.draw()
        self.assertTrue(self.ana.as_found)
        self.assertFalse(self.ana.glass.shows("typed"), self.ana.glass.rows)
        self.assertFalse(self.ana.glass.shows("not encrypted"), self.ana.glass.rows)
        self.assertFalse(self.ana.glass.shows("Traceback"), self.ana.glass.rows)
        self.assertFalse(self.ana.glass.cursor.hidden)
        self.assertEqual(self.ana.glass.cursor.x, 0)
        for mode in (b"2004", b"1"):
            on, off = (self.ana.raw.rfind(b"\x1b[?%s%s" % (mode, end)) for end in (b"h", b"l"))
            self.assertGreaterEqual(off, on, mode)
        return status

    def test_ctrl_c_twice(self) -> None:
        """Ctrl-C twice: the first clears the line."""
        self.ana.type(CTRL_C)
        self.ana.until(lambda glass: not glass.shows("typed"))
        self.ana.type(CTRL_C)
        self.assertEqual(self.ended(), 0)

    def test_ctrl_d(self) -> None:
        """Ctrl-D on an empty line."""
        self.ana.type("\x15" + CTRL_D)
        self.assertEqual(self.ended(), 0)

    def test_close(self) -> None:
        """/close."""
        self.ana.type("\x15/close\r")
        self.assertEqual(self.ended(), 0)
        self.assertTrue(self.ana.glass.shows("-- Bye."))

    def test_sigterm(self) -> None:
        """SIGTERM."""
        self.ana.process.send_signal(signal.SIGTERM)
        self.ended()

    def test_sighup(self) -> None:
        """SIGHUP."""
        self.ana.process.send_signal(signal.SIGHUP)
        self.ended()

    def test_stuck(self) -> None:
        """SIGTERM, where the terminal takes nothing any more."""
        self.ana.type("\x15")
        bob = self.person(self.server, "bob")
        for _ in range(20):
            bob.write(f"{'x' * 8000}\n")
        bob.eof()
        self.assertEqual(bob.wait(), 0)
        self.ana.process.send_signal(signal.SIGTERM)
        until(lambda: self.ana.process.poll() is not None)
        self.assertTrue(self.ana.as_found)

    def test_sigquit(self) -> None:
        """SIGQUIT."""
        self.ana.process.send_signal(signal.SIGQUIT)
        self.ended()

    def test_window_closed(self) -> None:
        """A window that is closed ends it too."""
        self.ana.hang_up()
        self.ana.wait()

    def test_kicked_out(self) -> None:
        """The session goes on elsewhere: it says so, and the status is 1."""
        (file,) = (self.home / "desk" / "state").rglob("sessions/*")
        until(lambda: file.stat().st_size > 2)
        token = json.loads(file.read_text())["session"]
        other = self.client(self.server.address)
        other.write(f"/resume {token} 0\n")
        other.prints("--> You are back in lobby")
        self.assertEqual(self.ended(), 1)
        self.assertTrue(self.ana.glass.shows("pylingo: Your session goes on in another"))
