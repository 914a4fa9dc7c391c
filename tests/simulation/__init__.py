"""The delivery protocol in a world made of one seed: clock, network, disks, crashes, restores.

The cores are the real ones (``Producer``, ``Outbox``, ``Journal``, ``decision.decide``); what is
simulated is everything around them, in the order in which the shells call them. One seed is one
world, and always the same one::

    .venv/bin/python -m tests.simulation --seeds 2000
    .venv/bin/python -m tests.simulation --replay SEED --trace
"""
