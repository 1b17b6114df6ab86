"""Who may do what in a room: whom a ban or a mute hits, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from pylingo import names
from pylingo.names import Name
from pylingo.protocol import ChatError
from pylingo.rules import MOST_SANCTIONS, Rules, Sanction

HOST = "192.0.2.7"


@dataclass
class Person:
    """A user, as rules see one."""

    name: Name
    place: str
    host: str = ""
    session: int = 0


def person(name: str, place: str, host: str = "") -> Person:
    session = int(place[1:]) if place.startswith("~") else 99
    return Person(names.user(name), place, host, session)


def sanction(name: str, place: str, host: str = "") -> Sanction:
    return Sanction(names.user(name).key, name, place, host, "op", "spam")


def hits(ban: Sanction, who: Person) -> bool:
    rules = Rules()
    rules.bans.add(ban)
    return rules.banned(who) is ban


class SanctionTests(SynchronousTestCase):
    def test_account(self) -> None:
        """What is meant for an account hits it under whatever name, and nobody else."""
        ban = sanction("ana", "@ana")
        self.assertTrue(hits(ban, person("ana", "@ana")))
        self.assertTrue(hits(ban, person("zoe", "@ana", HOST)))
        self.assertFalse(hits(ban, person("ben", "@ben")))
        self.assertFalse(hits(ban, person("ben", "~5")))

    def test_guest(self) -> None:
        """What is meant for a guest hits the session, the name, and the address."""
        ban = sanction("eve", "~5", HOST)
        self.assertTrue(hits(ban, person("mallory", "~5", "192.0.2.8")))
        self.assertTrue(hits(ban, person("EVE", "~6", "192.0.2.8")))
        self.assertTrue(hits(ban, person("mallory", "~6", HOST)))
        self.assertFalse(hits(ban, person("mallory", "~6", "192.0.2.8")))

    def test_no_address(self) -> None:
        """Who is known without an address is not taken for everybody without one."""
        self.assertFalse(hits(sanction("eve", "~5"), person("ana", "~6")))
        self.assertFalse(hits(sanction("eve", "~5", HOST), person("ana", "~6")))

    def test_owners_are_spared(self) -> None:
        """A guest's ban hits no registered name that comes from the same address."""
        self.assertFalse(hits(sanction("eve", "~5", HOST), person("ana", "@ana", HOST)))

    def test_beside(self) -> None:
        """Who is hit for an address alone is told so; the guest, or that name, is not."""
        ban = sanction("eve", "~5", HOST)
        self.assertTrue(ban.hits_beside(person("ana", "~6", HOST)))
        self.assertFalse(ban.hits_beside(person("mallory", "~5", HOST)))
        self.assertFalse(ban.hits_beside(person("eve", "~6", HOST)))

    def test_registering_is_no_way_out(self) -> None:
        """A guest who registers, or logs in, in the same session is still hit."""
        escaped = Person(names.user("innocent"), "@innocent", HOST, session=5)
        self.assertTrue(hits(sanction("eve", "~5"), escaped))


class RulesTests(SynchronousTestCase):
    def test_empty(self) -> None:
        """A new room lets everyone in, and is not kept."""
        rules = Rules()
        ana = person("ana", "~1", HOST)
        self.assertIsNone(rules.banned(ana))
        self.assertIsNone(rules.muted(ana))
        self.assertEqual((rules.lock, rules.kept), ("", False))

    def test_kept(self) -> None:
        """Rules last for as long as an operator has an account."""
        rules = Rules()
        rules.operators["~5"] = None
        self.assertFalse(rules.kept)
        rules.operators["@ana"] = None
        self.assertTrue(rules.kept)
        del rules.operators["@ana"]
        self.assertFalse(rules.kept)

    def test_apart(self) -> None:
        """A ban is no mute, and a mute is no ban."""
        rules = Rules()
        ana, ben = person("ana", "@ana"), person("ben", "@ben")
        rules.bans.add(sanction("ana", "@ana"))
        rules.mutes.add(sanction("ben", "@ben"))
        self.assertEqual(rules.banned(ana), sanction("ana", "@ana"))
        self.assertIsNone(rules.muted(ana))
        self.assertIsNone(rules.banned(ben))
        self.assertEqual(rules.muted(ben), sanction("ben", "@ben"))

    def test_again(self) -> None:
        """A second ban of the same guest takes the place of the first."""
        rules = Rules()
        rules.bans.add(sanction("eve", "~5"))
        rules.bans.add(sanction("eve", "~5", HOST))
        self.assertEqual(list(rules.bans.values()), [sanction("eve", "~5", HOST)])

    def test_namesakes(self) -> None:
        """One of another guest who goes by the same name now leaves the first where it was."""
        rules = Rules()
        for session in (5, 6, 7):
            rules.bans.add(sanction("eve", f"~{session}"))
        for session in (5, 6, 7):
            self.assertIsNotNone(rules.banned(person("other", f"~{session}")))
        self.assertIsNotNone(rules.banned(person("eve", "~8")))
        self.assertIsNone(rules.banned(person("other", "~8")))
        self.assertEqual(len(rules.bans), 3)

    def test_most(self) -> None:
        """There is a bound to bans; one that is there can still be changed, or lifted."""
        rules = Rules()
        for number in range(MOST_SANCTIONS):
            rules.bans.add(sanction(f"eve{number}", f"~{number + 1}"))
        error = self.assertRaises(ChatError, rules.bans.add, sanction("mallory", "~5000"))
        self.assertEqual((error.code, error.fatal), ("bad_argument", False))
        rules.mutes.add(sanction("mallory", "~5000"))
        rules.bans.add(sanction("eve7", "~8", HOST))
        self.assertRaises(ChatError, rules.bans.add, sanction("eve7", "~5001"))
        del rules.bans["eve7"]
        rules.bans.add(sanction("mallory", "~5000"))
        self.assertEqual(len(rules.bans), MOST_SANCTIONS)
