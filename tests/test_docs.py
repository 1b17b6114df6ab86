"""What the documents say is so: the bot runs, the tables are those of the program."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pylingo import commands, protocol, service
from pylingo.commands import TABLE
from tests.journey import TWISTD, Journey, Process, Server, until

ROOT = Path(__file__).resolve().parent.parent
BOT = ROOT / "docs" / "example_bot.py"


def _read(name: str) -> str:
    """The text of a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def _section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its rank or above."""
    rank = heading.partition(" ")[0]
    rest = text.partition(f"\n{heading}\n")[2]
    assert rest, f"there is no {heading!r}"
    return re.split(rf"\n#{{1,{len(rank)}}} ", rest, maxsplit=1)[0]


def _rows(text: str) -> list[list[str]]:
    """The cells of the tables in `text`, without what heads them."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows]


class BotTests(Journey):
    """The bot of docs/bots.md."""

    def bot(self, port: int) -> Process:
        bot = Process([str(BOT), f"tcp:127.0.0.1:{port}", "lobby"], self.home / "bot")
        self.addCleanup(bot.kill)
        return bot

    def test_answers(self) -> None:
        """It answers each who asks, once; not itself, nor what was asked before. It takes leave."""
        server = self.serve()
        early = self.person(server, "bea")
        early.write("!echo too early\n")
        early.eof()
        self.assertEqual(early.wait(), 0, early.err)
        ana = self.person(server, "ana")
        ana.prints("<bea> !echo too early")
        bot = self.bot(server.port)
        ana.prints("--> echo joined lobby")
        for word in ("one", "!echo two", "three"):
            ana.write(f"!echo {word}\nnot for you\n")
            ana.prints(f"<echo> ana: {word}")
        # The answer to the last one is also the proof that there is none to the others.
        self.assertEqual(ana.out.count("<echo>"), 3, ana.out)
        self.assertIsNone(bot.process.poll(), bot.err)
        bot.process.send_signal(signal.SIGINT)
        ana.prints("<-- echo left lobby (bye)")
        bot.wait()
        self.assertEqual(bot.err, "")

    def test_comes_back(self) -> None:
        """When the server is started again, the bot comes back by itself and goes on."""
        server = self.serve()
        bot = self.bot(server.port)
        self.ask(server, "ready?")
        server.stop()
        again = self.serve(port=server.port)
        until(lambda: "echo, who is back" in again.out, lambda: again.out + bot.err)
        self.ask(again, "still there?")

    def ask(self, server: Server, question: str) -> None:
        """Go to the bot's room, wait for it, ask it, and leave when it has answered."""
        ana = self.person(server, "ana")
        ana.prints("echo")
        ana.write(f"!echo {question}\n")
        ana.prints(f"<echo> ana: {question}")
        ana.eof()
        self.assertEqual(ana.wait(), 0, ana.err)

    def test_no_server(self) -> None:
        """Where there is no server, it says so in a sentence and exits with status 1."""
        with socket.socket() as taken:
            # Bound and not listening: nobody answers there, and nobody else can take it.
            taken.bind(("127.0.0.1", 0))
            bot = self.bot(taken.getsockname()[1])
            self.assertEqual(bot.wait(), 1)
        self.assertIn("echo: Nothing answers at tcp:127.0.0.1:", bot.err)
        self.assertNotIn("Traceback", bot.err)

    def test_shown(self) -> None:
        """docs/bots.md shows the very lines of the bot, and they are 25 at most."""
        source = BOT.read_text(encoding="utf-8")
        self.assertIn(f"```python\n{source}```\n", _read("docs/bots.md"))
        self.assertLessEqual(len(source.splitlines()), 25)


class ReadmeTests(SynchronousTestCase):
    """README.md."""

    def test_commands(self) -> None:
        """Its table of commands is the server's: names, aliases, arguments and help, in order."""
        expected = [
            [
                ", ".join(
                    [
                        f"`/{row.name} {row.arguments}".rstrip() + "`",
                        *(f"`/{a}`" for a in row.aliases),
                    ]
                ),
                row.help,
            ]
            for row in commands.rows()
        ]
        heading, *rows = _rows(_section(_read("README.md"), "## Commands"))
        self.assertEqual(heading, ["command", "what it does"])
        self.assertEqual(rows, expected)

    def test_modules(self) -> None:
        """Its table of modules has every module that there is, and no other."""
        table = _rows(_section(_read("README.md"), "## How it fits together"))
        told = {row[0].strip("`") for row in table if row[0].startswith("`")}
        there = {
            str(path.relative_to(ROOT))
            for folder in ("pylingo", "twisted/plugins")
            for path in (ROOT / folder).glob("*.py")
            if not path.name.startswith("__")
        }
        self.assertEqual(told, there)

    def test_dependencies(self) -> None:
        """It gives a reason for every package that is needed, and for no other."""
        needed = _read("pyproject.toml").partition("\ndependencies = [")[2].partition("\n]")[0]
        names = {re.split(r" *[<>=!~]", line.strip(' ",'))[0] for line in needed.split("\n")[1:]}
        table = _rows(_section(_read("README.md"), "## What it stands on"))
        self.assertEqual({row[0].strip("`") for row in table[1:]}, names)

    def test_links(self) -> None:
        """What the documents link to is there."""
        for name in ("README.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))):
            for target in re.findall(r"\]\(([^)#:]+)\)", _read(name)):
                self.assertTrue((ROOT / name).parent.joinpath(target).exists(), (name, target))


class OperatingTests(SynchronousTestCase):
    """docs/operating.md."""

    def test_options(self) -> None:
        """Its table has every option that `twistd pylingo --help` has, with the default."""
        shown = subprocess.run(
            [sys.executable, *TWISTD, "pylingo", "--help"],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip
        options = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", shown, re.MULTILINE))
        rows = _rows(_section(_read("docs/operating.md"), "## Options"))[1:]
        told = {option: row[1] for row in rows for option in re.findall(r"--[a-z-]+", row[0])}
        self.assertEqual(set(told), options)
        for long, _, default, *_ in service.Options.optParameters:
            if default:
                shown = f"{default:g}" if isinstance(default, float) else str(default)
                self.assertEqual(told[f"--{long}"].strip("`"), shown, long)

    def test_port_taken(self) -> None:
        """What cannot be ends the server with a sentence and exit status 1; it does not stay."""
        home = Path(self.mktemp()).absolute()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = Process(
                [*TWISTD, "--nodaemon", "--pidfile=", "pylingo", f"--port={port}",
                 "--interface=127.0.0.1", "--database=:memory:"],
                home,
            )  # fmt: skip
            self.addCleanup(server.kill)
            self.assertEqual(server.wait(), 1)
        self.assertIn(f"Couldn't listen on 127.0.0.1:{port}", server.out + server.err)
        self.assertNotIn("Traceback", server.out + server.err)


class ProtocolTests(SynchronousTestCase):
    """docs/protocol.md."""

    def setUp(self) -> None:
        self.page = _read("docs/protocol.md")

    def words(self, heading: str) -> list[str]:
        """What the first cells of a section's tables have in code."""
        return [
            word
            for row in _rows(_section(self.page, heading))
            if row[0].startswith("`")
            for word in re.findall(r"`([^`]+)`", row[0])
        ]

    def test_commands(self) -> None:
        """Its table has every command with every alias, once."""
        self.assertEqual(sorted(self.words("## Commands")), sorted(TABLE))

    def test_costs(self) -> None:
        """It says what each command costs."""
        for row in _rows(_section(self.page, "## Commands"))[1:]:
            for word in re.findall(r"`([^`]+)`", row[0]):
                self.assertEqual(int(row[-1]), TABLE[word].cost, word)

    def test_events(self) -> None:
        """Its table has every event, with every field."""
        rows = _rows(_section(self.page, "## Events"))
        told = {row[0].strip("`"): row[1] for row in rows if row[0].startswith("`")}
        for kind in protocol.AnyEvent.__args__:
            config = kind.__struct_config__
            for field in set(kind.__struct_fields__) - {"re"}:
                self.assertIn(f"`{field}`", told[str(config.tag)], config.tag)

    def test_errors(self) -> None:
        """Its table has every code that the program gives."""
        source = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("pylingo/*.py"))
        given = set(re.findall(r'ChatError\(\s*"(\w+)"', source)) - {
            # A client's own.
            "gone",
            "unreachable",
            "unsure",
            "untrusted",
        }
        self.assertEqual(given - set(self.words("### Errors")), set())
