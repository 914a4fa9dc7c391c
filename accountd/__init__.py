"""accountd: the one writer of the encrypted database. It applies usage and authorizes keys.

``cli``, ``config``                the command and its settings
``app``                            one thread, one poll loop: usage in groups, then requests
``rpc``, ``services``              hands requests to their handlers; the objects behind these
``request_params``, ``rpc_types``  reading parameters; words that ``accountctl`` knows too (pure)
``times``, ``clock``               timestamps as they are stored (pure); the time now

The rooms: ``ledger`` (what usage costs and whether it is new), ``accounts`` (accounts, keys,
grants), ``notifications`` (announcements, metrics, webhook), ``reports`` (requests that only read),
``data`` (the database file), ``ctl`` (the command ``accountctl``, which loads no database).
"""
