"""Who knocks, and how often: what a flood or a loop may cost, before anybody is asked about it.

``client_address``                   whose connection it is, by what trusted proxies say (pure)
``proxy_prelude``, ``proxy_header``  the PROXY protocol, before the first byte of a client
``callers``                          by address: how many connections, how many wrong keys
``key_rates``                        sessions a second of a key, and under one name (pure)

Called by ``listeners`` and ``server`` for each connection, by ``door.admission`` for each key. It
promises that what it refuses costs accountd no question, and that what it remembers is bounded.
"""
