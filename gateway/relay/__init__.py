"""A session: a client's connection, a provider's connection, and what lies between.

``session``    CONNECTING, RELAYING, DRAINING, ENDED: one object moves, by a table
``sinks``      where received frames go: through the meter and on to the other side
``drain``      what becomes of the provider's connection when the client is gone
``lifetime``   when a session is as old as its provider allows (pure)

Called by ``door.opener`` and ``server``. It promises that a response is metered before it is
forwarded, that nothing reaches a client that is gone, and that a session ends once.
"""
