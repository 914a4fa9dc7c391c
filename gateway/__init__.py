"""The gateway: a WebSocket relay that meters. Any replica serves any client.

``cli``, ``config``, ``app``      the command; its settings; opens all in order, closes in reverse
``server``                        gives each connection to who serves it, or refuses it
``session_registry``              the clients, sessions and calls that go on; ends them at the stop
``listeners``                     the sockets on which clients arrive
``accountd_link``                 what talks to accountd: opened first, closed last
``readiness``, ``build``          what ``/healthz`` and ``/readyz`` say; compiled or Python?
``frames``, ``frame_scanner``     frames as values; where they begin and end in a stream (pure)
``limits``, ``background_tasks``  every bound with its reason; tasks that must not die;
``outdated_notice``               and that accountd is too old, logged once

The rooms, from the client to accountd: ``callers`` (who knocks), ``door`` (who is let in),
``endpoints`` and ``http`` (what is no WebSocket), ``calls``, ``relay`` and ``connections`` (bytes
in, bytes out), ``handles``, ``providers``, ``translate`` (where client and provider speak different
protocols), ``metering`` (what it cost), ``conversations`` (stored), ``credit`` (what may be spent),
``delivery`` (usage, exactly once), ``accountd_client`` (requests and announcements), ``web`` (the
page, the console). docs/ARCHITECTURE.md draws who imports whom.
"""
