"""accountd: the one writer of the encrypted database. It applies usage and authorizes keys.

``cli``, ``commands``, ``config``  the command, and its settings
``app``                            one poll loop that writes: usage in groups, then requests
``rpc_thread``                     reads requests, authorizes, hands over all the others
``rpc``, ``services``              the handlers of requests; the objects behind these
``request_params``, ``rpc_types``  reading parameters; words that ``accountctl`` knows too (pure)
``times``, ``clock``               timestamps as they are stored (pure); the time now

The rooms: ``ledger`` (what usage costs and whether it is new), ``accounts`` (accounts, keys,
grants), ``fleet`` (gateways, their providers), ``notifications`` (announcements, metrics, webhook),
``reports`` (requests that only read), ``maintenance`` (copies and replacements of the database),
``data`` (the database file), ``ctl`` (the command ``accountctl``, which loads no database).
"""
