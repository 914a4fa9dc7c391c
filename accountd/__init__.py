"""accountd: the one writer of the encrypted database. It applies usage and answers who may talk.

``cli``, ``config``         the command and its settings
``app``                     one thread, one poll loop: usage in groups, then requests
``rpc``, ``services``       who answers which request, with what
``requests``, ``rpc_types`` reading parameters; words that ``accountctl`` knows too (pure)
``times``, ``clock``        timestamps as they are stored (pure); the time now

The rooms: ``ledger`` (what usage costs and whether it is new), ``accounts`` (accounts, keys,
grants),
``notifications`` (what is told without being asked), ``reports`` (what only reads), ``data`` (the
file), ``ctl`` (the command ``accountctl``, which loads no database).
"""
