"""The bench: what the figures of docs/PERFORMANCE.md and docs/RELIABILITY.md come from.

``python -m bench [NAMES] [--quick]`` (``make bench``) runs scenarios; each is also a command of its
own, with more options: ``python -m bench.relay``.

``report``            Scale, Outcome, Table, Curve, Bar, Check: what a scenario gets and gives back
``scenarios``         the registry: a line for each module with ``measure(scale: Scale) -> Outcome``
``machine``           the machine's facts, and where haproxy, nginx and LiteLLM are
``plots``             a file for each curve
``voice``             peers on asyncio that speak, echo and report usage
``microphones``       paced peers on bare sockets, so cheap that a relay is what limits them
``compared_relays``   haproxy, nginx, LiteLLM, and two small programs, before the same provider
``unmetered_gateway`` the gateway with metering off
``running_accountd``  accountd with many accounts
``usage_load``        batches for accountd, as fast as it takes them or paced
``big_ledger``        an encrypted ledger of a wanted size
``file_rate``, ``fsyncs``  what the database file, and its disk, give by themselves
"""
