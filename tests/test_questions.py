"""What a person is asked, and in which order."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pylingo.questions import Question, Questions


class QuestionsTests(SynchronousTestCase):
    """Questions, and who is told the answers."""

    def setUp(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.unheard: list[str] = []
        self.changes: list[None] = []
        self.questions = Questions(lambda: self.changes.append(None))

    def ask(self, prompt: str, *, hidden: bool = False, ours: bool = True) -> Question:
        def answer(line: str) -> None:
            self.told.append((prompt, line))

        question = Question(prompt, answer, hidden=hidden, ours=ours)
        self.questions.ask(question)
        return question

    def test_none(self) -> None:
        """At first nothing is asked."""
        self.assertIsNone(self.questions.now)
        self.assertFalse(self.questions.hidden)

    def test_answer(self) -> None:
        """An answer is for the one who asked, and then nothing is asked any more."""
        self.ask("name?")
        self.questions.answer("ana")
        self.assertEqual(self.told, [("name?", "ana")])
        self.assertIsNone(self.questions.now)

    def test_again(self) -> None:
        """The one who is told an answer may ask the next thing."""

        def ask(_: str) -> None:
            self.ask("room?")

        self.questions.ask(Question("name?", ask))
        self.questions.answer("ana")
        self.questions.answer("tea")
        self.assertEqual(self.told, [("room?", "tea")])

    def test_last(self) -> None:
        """Of what can be seen only the last is asked."""
        self.ask("name?")
        second = self.ask("room?")
        self.assertIs(self.questions.now, second)
        self.questions.answer("tea")
        self.assertIsNone(self.questions.now)

    def test_hidden(self) -> None:
        """What is hidden is not replaced; what is asked meanwhile comes after it."""
        first = self.ask("password?", hidden=True)
        second = self.ask("room?")
        self.assertIs(self.questions.now, first)
        self.assertTrue(self.questions.hidden)
        self.questions.answer("secret")
        self.assertIs(self.questions.now, second)
        self.assertFalse(self.questions.hidden)

    def test_hidden_meanwhile(self) -> None:
        """Something hidden comes before what could be seen, which is asked again afterwards."""
        first = self.ask("room?")
        second = self.ask("password?", hidden=True)
        self.assertIs(self.questions.now, second)
        self.questions.answer("secret")
        self.assertIs(self.questions.now, first)

    def test_of_others(self) -> None:
        """What somebody else waits for is not replaced, whether it is hidden or not."""
        first = self.ask("is that right?", ours=False)
        self.ask("room?")
        self.assertIs(self.questions.now, first)

    def test_settle(self) -> None:
        """What could be seen can be answered by what happens; what is hidden cannot."""
        self.ask("password?", hidden=True)
        self.ask("room?")
        self.questions.settle()
        self.questions.answer("secret")
        self.assertEqual(self.told, [("password?", "secret")])
        self.assertIsNone(self.questions.now)

    def test_withdraw_hidden(self) -> None:
        """Who is typing it types on unseen, for nobody or, if it is asked again, for that."""
        for again in (False, True):
            self.told.clear()
            first = self.ask("password?", hidden=True, ours=False)
            self.ask("room?")
            self.questions.withdraw(first, self.unheard.append)
            self.assertTrue(self.questions.hidden)
            if again:
                self.ask("password?", hidden=True, ours=False)
            self.questions.answer("secret")
            self.questions.answer("tea")
            self.assertEqual(self.told, [("password?", "secret")] * again + [("room?", "tea")])
            self.assertEqual(self.unheard, ["secret"])
            self.assertIsNone(self.questions.now)

    def test_told(self) -> None:
        """Whoever draws it is told at once of what is asked."""
        self.ask("is that right?", ours=False)
        self.assertEqual(len(self.changes), 1)

    def test_same(self) -> None:
        """What two commands ask in the same words is asked for each of them."""
        self.ask("password?", hidden=True)
        self.ask("password?", hidden=True)
        self.questions.answer("one")
        self.questions.answer("two")
        self.assertEqual(self.told, [("password?", "one"), ("password?", "two")])

    def test_withdraw_in_time(self) -> None:
        """Of a hidden one that nobody has seen yet, nothing is typed to its end."""
        self.ask("password of tea?", hidden=True)
        self.questions.withdraw(self.ask("password?", hidden=True, ours=False), self.unheard.append)
        self.questions.answer("secret")
        self.assertEqual((self.told, self.unheard), ([("password of tea?", "secret")], []))
        self.assertIsNone(self.questions.now)

    def test_withdraw(self) -> None:
        """A question can be taken back, once or twice, and whoever draws it is told."""
        first = self.ask("name?")
        told = len(self.changes)
        self.questions.withdraw(first, self.unheard.append)
        self.questions.withdraw(first, self.unheard.append)
        self.assertIsNone(self.questions.now)
        self.assertGreater(len(self.changes), told)
