"""A session: a client's connection, a provider's connection, and what lies between.

``session``                   joins two connections, and ends each when the other does
``lasting_session``           one that goes on over another connection to a provider
``interpreter``               carries messages through a translator; ``asks``: what of its session
``kept_splice``               forwards them, and keeps the conversation (``kept_sinks``: frames)
``replacement``               whether another connection follows one that is gone (pure)
``session_state``             its states and their table, and the values that it is made of (pure)
``client_side``, ``notices``  its client, as long as there is one; the gateway's own events for it
``endings``                   why a session ends, as its client hears it (pure)
``sinks``, ``floor_sink``     where received frames go; what waits while others are answered
``provider_drain``            what becomes of the provider's connection when the client is gone
``session_age``               when it is as old as its provider allows (pure); ``answer_wait``: how
                              long its user waits (pure)

Called by ``door``, ``server``, ``session_registry`` and, for its age, ``calls``. It promises that a
response is metered before it is forwarded, that nothing reaches a client that is gone, and that a
session ends once.
"""
