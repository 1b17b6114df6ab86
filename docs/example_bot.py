# A bot that repeats what it is told: python example_bot.py tcp:localhost:5000 lobby
import sys

from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from pylingo.connection import ChatError, Connection, Message


async def main(reactor, server, room):
    def heard(event):
        if isinstance(event, Message) and not event.replayed and event.text.startswith("!echo "):
            bot.say(f"{event.user}: {event.text[6:]}")

    endpoint = clientFromString(reactor, server)
    bot = Connection(endpoint, heard, reactor, where=server, name="echo", room=room)
    reactor.addSystemEventTrigger("before", "shutdown", bot.part)
    try:
        await bot.start()
    except ChatError as trouble:
        sys.exit(f"echo: {trouble}")
    await bot.closed


react(main, sys.argv[1:])
