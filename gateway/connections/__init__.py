"""Sockets: bytes in, whole frames out, and back. One object for each connection.

``listener``, ``file_descriptors``  clients are accepted while there are descriptors for them
``connection``, ``control``         after the handshake: frames, backpressure; pings, closes (pure)
``downstream``, ``upstream``        the handshake with a client, and with a provider that is dialled
``request_reader``, ``handshakes``  what a client asks for; handshakes in their usual form (pure)
``answer_writer``                   a plain HTTP answer, or a download, until it is delivered
``upstream_http``, ``dialing``      short requests to a provider; addresses are raced (RFC 8305)
``provider_errors``                 why a provider cannot be used, for client and operator (pure)
``tls``, ``tls_codec``              TLS that behaves like TCP; its records in memory
``certificate``                     proven before it is used, exchanged while the gateway runs
``sink``, ``receive_queue``         who gets frames; those that wait while it is paused (pure)
``held_bytes``                      what all connections hold together, and its bounds (pure)
``liveness``, ``close``             when a peer is pinged or lost; close codes (pure)

Called by ``listeners`` and ``server`` for clients, by ``door`` and ``calls`` to dial, by ``relay``
and ``session_registry``. Who decides about usage or credit pauses it. It promises that writes are
whole frames, that nothing received is lost in a session, and that every wait has a deadline.
"""
