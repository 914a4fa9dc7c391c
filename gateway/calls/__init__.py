"""Calls (WebRTC, SIP): their audio passes between caller and provider, their events pass here.

``api``                ``POST /v1/realtime/calls`` and its verbs: accept, refer, reject, hangup
``requests``           the bodies of these requests (pure)
``targets``            which provider takes a call
``provider_requests``  what is asked of the provider, and what clients hear of a refusal
``calls``              all calls to which this gateway listens
``call``               one call, metered on a sideband of the gateway's own
``unheard_responses``  what may have ended while there was no sideband (pure)
``retrying``           retries with growing pauses

Called by ``server`` for requests and sidebands, and by ``session_registry`` every second. It
promises that a call is metered before its client gets the answer, and that it is hung up when it
cannot be metered, when its account's credit is used up, and when the gateway stops.
"""
