"""How fast the server is, how that grows, and beside whom.

    python -m benchmarks                    PyLingo alone
    python -m benchmarks --peers            beside ngircd and nats-server, where they are installed
    python -m benchmarks --all --docs docs  everything, and write it into docs/performance.md

`crowd` is the load: many connections in this process, on a core of their own. `dialects` is what a
crowd says to each kind of server, `servers` starts and weighs those, `workloads` is what is done to
them, `growth` does it in many sizes, `starting` times the way to the first connection, and `report`
tells. Nothing here is imported by the chat, and nothing of the chat is by the load.
"""
