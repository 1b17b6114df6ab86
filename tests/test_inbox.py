"""Private messages to a registered name that is away."""

from __future__ import annotations

from pylingo import history, server
from pylingo.outbox import Outbox
from pylingo.protocol import (
    AnyEvent,
    Closing,
    Done,
    Error,
    Message,
    Private,
    Resumed,
    Sent,
    Stored,
)
from tests.house import SECRET, House, HouseTestCase, Visitor, request, texts


class InboxTests(HouseTestCase):
    """Private messages to a registered name that is away."""

    def login(self, name: str = "ana") -> Visitor:
        visitor = self.house.visitor()
        self.assertIsInstance(visitor.ask("login", f"{name} {SECRET}"), Done)
        return visitor

    def inbox(self, visitor: Visitor) -> list[str]:
        return [event.text for event in visitor.hear() if isinstance(event, Private)]

    def test_next_login(self) -> None:
        """They come after the next login, replayed, in order, and only once."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        sent = [ben.ask("msg", f"ana {n}") for n in range(3)]
        ana = self.login()
        heard = ana.hear()
        self.assertIsInstance(heard[1], Done)
        private = [event for event in heard if isinstance(event, Private)]
        self.assertEqual([event.text for event in private], ["0", "1", "2"])
        self.assertEqual([event.id for event in private], [event.id for event in sent])
        self.assertEqual({(e.replayed, e.user, e.to) for e in private}, {(True, "ben", "ana")})
        ana.ask("close")
        self.assertEqual(self.inbox(self.login()), [])

    def test_dropped(self) -> None:
        """What one who read too slowly did not get comes with the next login."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        self.house.wait(2)
        ana.stall()
        for number in range(200):
            ben.ask("msg", f"ana {number:03} {'x' * 8000}")
        self.assertEqual(self.house.factory.slow, 1)
        self.assertEqual(
            [text[:3] for text in self.inbox(self.login())], [f"{n:03}" for n in range(200)]
        )

    def test_after_restart(self) -> None:
        """They wait through a restart, and that they were heard is known after one."""
        self.house.owner("ana").ask("close")
        self.house.visitor("ben").ask("msg", "ana later")
        self.house = self.house.restart()
        ana = self.login()
        self.assertEqual(self.inbox(ana), ["later"])
        ana.ask("close")
        self.house = self.house.restart()
        self.assertEqual(self.inbox(self.login()), [])

    def test_heard_live(self) -> None:
        """What was heard at once does not come again at the next login."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ben.ask("msg", "ana now")
        self.assertEqual(self.inbox(ana), ["now"])
        ana.ask("close")
        ben.ask("msg", "ana later")
        self.assertEqual(self.inbox(self.login()), ["later"])

    def test_lingering(self) -> None:
        """What came while the connection was broken comes at the login that follows."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.drop()
        ben.ask("msg", "ana one")
        self.house.wait(70)
        ben.ask("msg", "ana two")
        self.assertEqual(self.inbox(self.login()), ["one", "two"])

    def test_resumed(self) -> None:
        """What came to who was away is heard by resuming, and not again by the next login."""
        ana, ben = self.house.owner("ana", "lobby"), self.house.visitor("ben", "lobby")
        last = ben.ask("say", "first").id
        ana.drop()
        self.house.wait(70)
        ben.ask("msg", "ana away")
        back = self.house.visitor()
        self.assertIsInstance(back.ask("resume", f"{ana.welcome.session} {last}"), Resumed)
        self.assertEqual(self.inbox(back), ["away"])
        back.ask("close")
        self.assertEqual(self.inbox(self.login()), [])

    def test_broken_link(self) -> None:
        """What waited for a link that broke comes at the next login."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        self.house.wait(2)
        ana.stall()
        for number in range(3):
            ben.ask("msg", f"ana {number}")
        ana.drop()
        self.house.wait(70)
        self.assertEqual(self.inbox(self.login()), ["0", "1", "2"])

    def test_stalled(self) -> None:
        """What one who goes on speaking, but takes nothing, did not get comes at the next login."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.stall()
        ben.ask("msg", "ana one")
        self.house.wait(25)
        ana.drop()
        self.house.wait(70)
        self.assertEqual(self.inbox(self.login()), ["one"])

    def test_on_the_way(self) -> None:
        """So does what the system has taken, and the peer has not."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        self.house.wait(2)
        system = self.patch(Outbox, "unsent", lambda _: 100)
        ben.ask("msg", "ana lost")
        self.house.wait(2)
        ana.drop()
        system.restore()
        self.assertEqual(self.inbox(self.login()), ["lost"])

    def test_arrived(self) -> None:
        """What has arrived for certain does not come again, however the link ends."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ben.ask("msg", "ana one")
        self.house.wait(15)
        ana.drop()
        elsewhere = self.login()
        for text in ("two", "three"):
            ben.ask("msg", f"ana {text}")
            self.assertEqual(self.inbox(elsewhere), [text])
            self.house.wait(15)
        self.assertEqual(self.inbox(self.login()), [])

    def test_behind_a_proxy(self) -> None:
        """What only somebody on the way has taken comes again, however lately one has spoken."""
        for ends in ("silence", "login", "proxy"):
            ana, ben = self.house.owner("ana"), self.house.visitor("ben")
            ana.send(request("pong"))
            ben.ask("msg", "ana there?")
            self.house.wait(20, alive=False)
            if ends == "silence":
                self.house.wait(50, alive=False)
                self.assertTrue(ana.closed)
            elif ends == "proxy":
                ana.wire.door.readConnectionLost()
            elsewhere = self.login()
            self.assertEqual(self.inbox(elsewhere), ["there?"], ends)
            elsewhere.ask("close")

    def test_behind_a_proxy_at_the_end(self) -> None:
        """So it does where that one ends it just before the server does."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben", "tea")
        ben.ask("msg", "ana there?")
        self.house.wait(20, alive=False)
        self.house.commits.hold()
        ben.begin("say", "hi")
        ana.wire.door.readConnectionLost()
        ana.wire.door.close("shutdown", "The server is shutting down.")
        self.house.commits.release()
        self.assertEqual(self.inbox(self.login()), ["there?"])

    def test_held_up(self) -> None:
        """That the server could not read for a while is no word from anybody."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ben.ask("msg", "ana there?")
        self.house.wait(1, alive=False)
        self.house.clock.advance(20)
        self.house.settle()
        self.house.wait(2, alive=False)
        ana.drop()
        self.assertEqual(self.inbox(self.login()), ["there?"])

    def test_asleep(self) -> None:
        """What only the system of a silent peer has taken comes again: it may be stopped."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        self.house.wait(40, alive=False)
        ben.ask("msg", "ana there?")
        self.house.wait(40, alive=False)
        self.assertTrue(ana.closed)
        self.assertEqual(self.inbox(self.login()), ["there?"])

    def test_asleep_while_behind(self) -> None:
        """So it is where the server reads what was said long ago."""
        self.house.factory.rate = 1.0
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.send(*[request("pong")] * 200)
        self.house.wait(30, alive=False)
        ben.ask("msg", "ana there?")
        self.house.wait(5, alive=False)
        ana.drop()
        self.house.factory.rate = 0
        self.assertEqual(self.inbox(self.login()), ["there?"])

    def test_asleep_while_it_waits(self) -> None:
        """That the server keeps somebody waiting is no word from there."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ben.ask("msg", "ana there?")
        self.house.wait(1, alive=False)
        self.house.reads.hold()
        ana.begin("join", "tea")
        self.house.wait(10, alive=False)
        ana.drop()
        self.house.reads.release()
        self.assertEqual(self.inbox(self.login()), ["there?"])

    def test_asleep_no_more(self) -> None:
        """When it says something that was not on its way by then, it has read that."""
        for seconds, again in ((3, ["there?"]), (4, [])):
            ana, ben = self.house.owner("ana"), self.house.visitor(f"ben-{seconds}")
            self.house.wait(40, alive=False)
            ben.ask("msg", "ana there?")
            self.house.wait(seconds, alive=False)
            ana.send(request("pong"))
            self.house.wait(2, alive=False)
            ana.drop()
            ana = self.login()
            self.assertEqual(self.inbox(ana), again)
            ana.ask("close")

    def test_arrived_at_the_end(self) -> None:
        """What has arrived when a side closes the connection, whichever, does not come again."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        for ours in (True, False):
            ben.ask("msg", "ana now")
            self.assertEqual(self.inbox(ana), ["now"])
            self.house.wait(15)
            door = ana.wire.door
            door.close("idle", "You were silent.") if ours else door.readConnectionLost()
            self.house.settle()
            ana = self.login()
            self.assertEqual(self.inbox(ana), [])

    def test_arrived_just_before_the_end(self) -> None:
        """So it is where nobody has looked at it since it spoke last."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        for ending in ("ours", "theirs", "login"):
            ben.ask("msg", "ana now")
            self.assertEqual(self.inbox(ana), ["now"])
            self.house.wait(5, alive=False)
            ana.send(request("pong"))
            if ending == "ours":
                ana.wire.door.close("idle", "You were silent.")
            elif ending == "theirs":
                ana.wire.door.readConnectionLost()
            self.house.settle()
            ana = self.login()
            self.assertEqual(self.inbox(ana), [], ending)

    def test_arrived_at_the_account_of_before(self) -> None:
        """What has arrived before a login says nothing about what came with it."""
        self.house.owner("bob").ask("close")
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ben.ask("msg", "bob there?")
        ben.ask("msg", "ana now")
        self.house.wait(4, alive=False)
        ana.ask("login", f"bob {SECRET}")
        self.assertEqual(self.inbox(ana), ["now", "there?"])
        self.house.wait(2, alive=False)
        ana.drop()
        self.assertEqual(self.inbox(self.login("bob")), ["there?"])

    def test_arrived_before_another_login(self) -> None:
        """What has arrived does not come again though its connection goes on as somebody else."""
        self.house.owner("bob").ask("close")
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        other = self.house.visitor("other").welcome.session
        for command, body in (("login", f"bob {SECRET}"), ("resume", f"{other} 0")):
            ben.ask("msg", "ana now")
            self.assertEqual(self.inbox(ana), ["now"])
            self.assertNotIsInstance(ana.ask(command, body), Error)
            ana = self.login()
            self.assertEqual(self.inbox(ana), [])

    def test_kept_back(self) -> None:
        """What was kept back at a connection that a login ends is heard where one is now."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        self.house.reads.hold()
        ana.begin("join", "tea")
        ben.ask("msg", "ana there?")
        elsewhere = self.house.visitor()
        elsewhere.begin("login", f"ana {SECRET}")
        self.house.reads.release()
        self.house.settle()
        self.assertEqual(self.inbox(elsewhere), ["there?"])

    def test_handed_over_and_lost(self) -> None:
        """What was handed to a link that broke before it had arrived comes by resuming."""
        for restarted in (False, True):
            self.house.owner("ana").ask("close")
            ben = self.house.visitor("ben")
            for number in range(3):
                ben.ask("msg", f"ana {number}")
            ana = self.house.visitor()
            ana.ask("login", f"ana {SECRET}")
            first = next(event for event in ana.hear() if isinstance(event, Private))
            # It has not been looked at since, so all that is known is that it was sent.
            ana.drop()
            if restarted:
                self.house = self.house.restart()
            back = self.house.visitor()
            back.ask("resume", f"{ana.welcome.session} {first.id}")
            self.assertLessEqual({"1", "2"}, {*self.inbox(back)})
            back.ask("close")
            self.assertEqual(self.inbox(self.login()), [])

    def test_read_while_behind(self) -> None:
        """Who has more to say than is read has heard what came meanwhile all the same."""
        self.house = House(self.mktemp())
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.wire.arrive(request("pong") * 500)
        ben.ask("msg", "ana one")
        self.house.wait(3)
        self.assertEqual(self.inbox(ana), ["one"])
        self.house.wait(120)
        ana.drop()
        self.assertEqual(self.inbox(self.login()), [])

    def test_read_as_a_guest(self) -> None:
        """What came to a guest before the login is not in the way of knowing what was read."""
        self.house.owner("ana").ask("close")
        ben, guest = self.house.visitor("ben"), self.house.visitor("may")
        ben.ask("msg", "ana one")
        ben.ask("msg", "may two")
        self.house.wait(2)
        guest.ask("login", f"ana {SECRET}")
        self.assertEqual(self.inbox(guest), ["two", "one"])
        self.house.wait(15)
        guest.drop()
        self.assertEqual(self.inbox(self.login()), [])

    def test_resend_to_an_account(self) -> None:
        """What is sent again is one message to an account, whatever its name is meanwhile."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.ask("name", "annie")
        for _ in range(2):
            ben.send(request("msg", "ana hi", 7))
            ana.ask("name", "ana")
        self.assertEqual(self.inbox(ana), ["hi"])

    def test_broken_off_and_resumed(self) -> None:
        """A login that is broken off is made up for by resuming, even after a restart."""
        for restarted in (False, True):
            self.house.owner("ana").ask("close")
            ben = self.house.visitor("ben", "tea")
            ben.ask("msg", "ana early")
            later = ben.ask("say", "to all").id
            ana = self.house.visitor("", "tea")
            self.house.reads.hold()
            ana.begin("login", f"ana {SECRET}")
            ana.drop()
            self.house.reads.release()
            self.house.settle()
            if restarted:
                self.house = self.house.restart()
            back = self.house.visitor()
            fresh = back.ask("resume", f"{ana.welcome.session} {later}").session
            self.assertEqual(self.inbox(back), ["early"])
            self.house.wait(15)
            back.drop()
            again = self.house.visitor()
            self.assertEqual(again.ask("resume", f"{fresh} {later}").user, "ana")
            self.assertEqual(self.inbox(again), [])
            again.ask("close")

    def test_seen_and_resumed(self) -> None:
        """What somebody says to have seen since the login does not come again."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        token = ana.ask("hello").session
        for restarted in (False, True, False):
            ben.ask("msg", "ana seen")
            ben.ask("msg", "ana missed")
            seen, _ = (event for event in ana.hear() if isinstance(event, Private))
            # It has not been looked at since.
            ana.drop()
            if restarted:
                self.house = self.house.restart()
                ben = self.house.visitor("ben")
            ana = self.house.visitor()
            token = ana.ask("resume", f"{token} {seen.id}").session
            self.assertEqual(self.inbox(ana), ["missed"])

    def test_seen_and_killed(self) -> None:
        """Nor does what came with the login, or was made up for, when the server is killed."""
        for broken_off in (False, True):
            self.house.owner("ana").ask("close")
            ben = self.house.visitor("ben")
            ben.ask("msg", "ana early")
            ana = self.house.visitor()
            self.house.reads.hold()
            ana.begin("login", f"ana {SECRET}")
            if broken_off:
                ana.drop()
            self.house.reads.release()
            token = ana.welcome.session
            if broken_off:
                ana = self.house.visitor()
                token = ana.ask("resume", f"{token} 0").session
            self.assertEqual(self.inbox(ana), ["early"])
            seen = ben.ask("msg", "ana live").id
            self.house = self.house.restart(**self.options)
            back = self.house.visitor()
            self.assertEqual(back.ask("resume", f"{token} {seen}").user, "ana")
            self.assertEqual(self.inbox(back), [])
            back.ask("close")

    def test_said_while_catching_up(self) -> None:
        """What is said while the rest is told, and has arrived, does not come again either."""
        self.house.owner("ana").ask("close")
        ana, ben = self.house.visitor(), self.house.visitor("ben")
        self.house.reads.hold()
        ana.begin("login", f"ana {SECRET}")
        ben.ask("msg", "ana live")
        self.house.reads.release()
        self.assertEqual(self.inbox(ana), ["live"])
        self.house.wait(15)
        ana.drop()
        self.assertEqual(self.inbox(self.login()), [])

    def test_nothing_new(self) -> None:
        """Of who is told nothing, nothing is stored."""
        self.house.owner("ana")
        self.house.wait(2)
        groups = self.house.log.groups
        self.house.wait(5)
        self.assertEqual(self.house.log.groups, groups)

    def test_seen_long_ago(self) -> None:
        """What was seen does not come again when the same is said twice, as after silence."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben", "tea")
        ana.ask("close")
        ben.ask("msg", "ana one")
        ana = self.login()
        self.assertEqual(self.inbox(ana), ["one"])
        ana.ask("join", "tea")
        seen = ben.ask("say", "to all").id
        token = ana.ask("hello").session
        for _ in range(3):
            ana.drop()
            ana = self.house.visitor()
            token = ana.ask("resume", f"{token} {seen}").session
            self.assertEqual(self.inbox(ana), [])

    def test_on_its_way(self) -> None:
        """What is stored while one is logged in elsewhere, or leaves, comes at the next login."""
        for ending in ("login", "close"):
            self.setUp()
            ana, ben, other = self.house.owner("ana"), self.house.visitor("ben"), None
            ben.ask("join", "tea")
            self.house.commits.hold()
            ben.begin("say", "one")
            self.house.settle()
            if ending == "login":
                other = self.house.visitor()
                other.begin("login", f"ana {SECRET}")
            else:
                ana.begin("close")
            self.house.settle()
            self.house.commits.step()
            self.house.settle()
            asked = ben.begin("msg", "ana precious")
            self.house.settle()
            self.house.commits.release()
            self.house.settle()
            self.assertIsInstance(ben.reply(asked), Sent)
            self.assertTrue(ana.closed)
            self.assertEqual(self.inbox(other or self.login()), ["precious"], ending)

    def test_on_its_way_at_a_login(self) -> None:
        """What was said to a guest who logs in comes, though the link breaks before it is told."""
        self.house.owner("ana").ask("close")
        xeno, ben = self.house.visitor("xeno", "tea"), self.house.visitor("ben", "tea")
        ben.ask("msg", "ana waiting")
        token = xeno.ask("hello").session
        for thread in (self.house.hashes, self.house.commits, self.house.reads):
            thread.hold()
        xeno.begin("login", f"ana {SECRET}")
        ben.begin("say", "busy")
        self.house.hashes.step()
        # The password is right; the login waits for what is on its way already.
        self.house.commits.step()
        self.house.settle()
        ben.begin("msg", "xeno precious")
        ben.begin("say", "later")
        while self.house.commits.waiting:
            self.house.commits.step()
            self.house.settle()
        last = [event for event in xeno.hear() if isinstance(event, Message)][-1]
        self.assertEqual(last.text, "busy")
        xeno.drop()
        for thread in (self.house.hashes, self.house.commits, self.house.reads):
            thread.release()
        for _ in range(2):
            back = self.house.visitor()
            token = back.ask("resume", f"{token} {last.id}").session
            self.assertEqual(self.inbox(back), ["waiting", "precious"])
            back.drop()
        back = self.house.visitor()
        token = back.ask("resume", f"{token} {last.id}").session
        last = [event for event in back.hear() if isinstance(event, Message)][-1]
        self.assertEqual(last.text, "later")
        self.house.wait(15)
        back.drop()
        back = self.house.visitor()
        back.ask("resume", f"{token} {last.id}")
        self.assertEqual(self.inbox(back), [])

    def test_held_elsewhere(self) -> None:
        """What waits at the new door for a resume is not read because the old one closes."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben", "tea")
        token = ana.ask("hello").session
        back = self.house.visitor()
        self.house.commits.hold()
        self.house.reads.hold()
        ben.begin("say", "one")
        self.house.settle()
        back.begin("resume", f"{token} 0")
        self.house.settle()
        self.house.commits.step()
        self.house.settle()
        ben.begin("msg", "ana precious")
        for _ in range(3):
            self.house.settle()
            self.house.commits.step()
        self.house.wait(2)
        back.drop()
        self.house.commits.release()
        self.house.reads.release()
        self.house.settle()
        self.assertEqual(self.inbox(self.login()), ["precious"])

    def test_resent_after_registering(self) -> None:
        """A message that is sent again is known although the one it was for has an account now."""
        ana, ben = self.house.visitor("ana"), self.house.visitor("ben")
        session = ben.ask("hello").session
        for restarted in (False, True):
            ben.send(request("msg", "ana once", f"{restarted}"))
            if restarted:
                self.house = self.house.restart()
                ana, ben = self.house.visitor(), self.house.visitor()
                ana.ask("login", f"ana {SECRET}")
                ben.ask("resume", f"{session} 0")
            else:
                ana.ask("register", SECRET)
            ben.send(request("msg", "ana once", f"{restarted}"))
            self.assertEqual(self.inbox(ana), ["once"])

    def test_resent_to_another_name(self) -> None:
        """It is answered although nobody has that name any more."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ana.ask("name", "annie")
        session = ben.ask("hello").session
        ben.send(request("msg", "annie once", "x"))
        sent = ben.reply("x")
        self.assertIsInstance(sent, Sent)
        self.assertEqual(self.inbox(ana), ["once"])
        ana.ask("close")
        for _ in range(2):
            ben.hear()
            ben.send(request("msg", "annie once", "x"))
            self.assertEqual(ben.reply("x"), sent)
            self.house = self.house.restart()
            ben = self.house.visitor()
            session = ben.ask("resume", f"{session} 0").session
        self.assertEqual(self.inbox(self.login()), [])

    def test_many(self) -> None:
        """Very many come all, in order; what is said meanwhile comes after them, once."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        for number in range(450):
            ben.send(request("msg", f"ana {number}"))
        self.house.reads.hold()
        ana = self.house.visitor()
        asked = ana.begin("login", f"ana {SECRET}")
        ben.ask("msg", "ana meanwhile")
        self.house.reads.release()
        self.house.settle()
        self.assertIsInstance(ana.reply(asked), Done)
        self.assertEqual(self.inbox(ana), [*map(str, range(450)), "meanwhile"])

    def test_many_in_a_busy_room(self) -> None:
        """What is said meanwhile, more than may wait, keeps nobody from hearing all of it, once."""
        self.patch(history, "PIECE", 3)
        self.patch(server, "MOST_WAITING", 2_000)
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben", "tea")
        for number in range(12):
            ben.send(request("msg", f"ana {number}"))
        ana = self.house.visitor(room="tea")
        token = ana.welcome.session
        heard = self.busy(ben, ana, "login", f"ana {SECRET}")
        self.assertEqual(texts(heard)[:12], [*map(str, range(12))])
        last = max(event.id for event in heard if isinstance(event, Stored))
        ana.drop()
        for number in range(12):
            ben.send(request("say", f"missed {number}"))
        heard = self.busy(ben, self.house.visitor(), "resume", f"{token} {last}")
        self.assertEqual(texts(heard)[:12], [f"missed {number}" for number in range(12)])

    def test_login_at_an_older_server(self) -> None:
        """Where one of before noted a later id than that of the login, nothing is told twice."""
        self.house.owner("ana").ask("close")
        ana, ben = self.house.visitor("may"), self.house.visitor("ben")
        token: str = ana.welcome.session
        ana.ask("login", f"ana {SECRET}")
        ana.drop()
        self.house.wait(70)
        self.house.database.writer.execute("UPDATE sessions SET handed = 9007199254740991")
        last = 0
        for text in ("one", "two"):
            ana = self.house.visitor()
            token = ana.ask("resume", f"{token} {last}").session
            self.assertEqual(self.inbox(ana), [])
            sent = ben.ask("msg", f"ana {text}")
            self.assertEqual(self.inbox(ana), [text])
            last = sent.id
            ana.drop()

    def busy(self, ben: Visitor, ana: Visitor, command: str, body: str) -> list[AnyEvent]:
        """What is heard from that command on, while ben says more than may wait."""
        self.house.reads.hold()
        ana.begin(command, body)
        self.house.settle()
        said: list[str] = []
        while self.house.reads.waiting:
            said.append(f"{len(said)}{'x' * 800}")
            ben.ask("say", said[-1])
            self.house.wait(1)
            self.house.reads.step()
            self.house.settle()
        self.house.reads.release()
        heard = ana.hear()
        self.assertEqual([texts(heard).count(text) for text in said], [1] * len(said))
        self.assertGreater(len(said), 4)
        self.assertFalse(any(isinstance(event, Closing) for event in heard))
        return heard

    def test_broken_off(self) -> None:
        """What could not be handed over because the connection broke comes at the next login."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        ben.ask("msg", "ana one")
        self.house.reads.hold()
        ana = self.house.visitor()
        ana.begin("login", f"ana {SECRET}")
        ben.ask("msg", "ana two")
        ana.drop()
        self.house.reads.release()
        self.house.wait(70)
        self.assertEqual(self.inbox(self.login()), ["one", "two"])

    def test_resend(self) -> None:
        """One that is sent again under the same id is one."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        for _ in range(2):
            ben.send(request("msg", "ana once", "x"))
        self.assertEqual(self.inbox(self.login()), ["once"])

    def test_resend_to_who_came(self) -> None:
        """It is one, too, where it is sent again when that one is here."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        ben.send(request("msg", "ana once", "x"))
        ana = self.login()
        self.assertEqual(self.inbox(ana), ["once"])
        ben.send(request("msg", "ana once", "x"))
        self.assertEqual(self.inbox(ana), [])

    def test_resumed_from_nothing(self) -> None:
        """Since the session joined is not since the account was made."""
        ana, ben = self.house.owner("ana"), self.house.visitor("ben")
        ben.ask("msg", "ana old")
        self.assertEqual(self.inbox(ana), ["old"])
        ana.ask("close")
        ana = self.login()
        ben.ask("msg", "ana new")
        self.house.wait(2)
        ana.drop()
        back = self.house.visitor()
        self.assertEqual(back.ask("resume", f"{ana.welcome.session} 0").user, "ana")
        self.assertEqual(self.inbox(back), ["new"])

    def test_not_for_rooms(self) -> None:
        """A room that is called so does not hear it, when the one with the name is away."""
        self.house.owner("ana").ask("close")
        ben, eve = self.house.visitor("ben"), self.house.visitor("eve", "ana")
        ben.ask("msg", "ana psst")
        self.assertEqual(eve.hear(), [])

    def test_not_for_twins(self) -> None:
        """What looks like the name is not the name."""
        self.house.owner("ana").ask("close")
        ben = self.house.visitor("ben")
        self.error(ben, "no_such_user", "msg", "аna hi")
        self.assertIsInstance(ben.ask("msg", "ＡＮＡ hi"), Sent)
        self.assertEqual(self.inbox(self.login()), ["hi"])

    def test_to_oneself(self) -> None:
        """An owner may leave a note for oneself; it is heard at once, as by anyone, and once."""
        ana = self.house.owner("ana")
        self.assertIsInstance(ana.ask("msg", "ana note"), Sent)
        self.assertEqual(self.inbox(ana), ["note"])
        ana.ask("close")
        self.assertEqual(self.inbox(self.login()), [])
