"""The two sockets to accountd beside usage: requests (DEALER) and announcements (SUB).

``rpc_client``      asks which key may talk, what is durable, what is left; every answer within 5 s
``rpc_channel``     its DEALER socket: requests with ids, deadlines, pings
``authorizations``  what accountd allows or denies, and a cache of that (pure)
``recalls``         ends what accountd takes back: sessions of a key, of an account, by name
``recall_log``      what was taken back, as far as it was heard (pure)
``leases``          keeps what accountd counts of sessions; ``lease_book``: which those are (pure)
``subscriber``      the SUB socket: hands each announcement to the listener of its topic

Called by ``door``, ``endpoints``, ``calls``, ``credit``, ``delivery``, ``readiness`` and, through
an interface, ``handles``. What was not announced in time is asked for, so a lost announcement costs
time and never a charge.
"""
