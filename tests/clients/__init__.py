"""The official clients with their stock code, through gateway, accountd and simulator.

Every client holds one session: a spoken turn, a tool call and an interruption. ``test_matrix.py``
compares what it heard and what was charged with the provider's own log.
"""
