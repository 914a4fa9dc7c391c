"""Calls (WebRTC, SIP): their audio passes between caller and provider, their events pass here.

``api``, ``requests``  ``POST /v1/realtime/calls`` and its verbs: accept, refer, reject, hangup
``provider_requests``  what is asked of the provider for them, and what clients hear of a refusal
``calls``              all calls to which this gateway listens
``call``, ``doubt``    one call, metered on a sideband of the gateway's own; what a gap in it missed
``retrying``           retries with growing pauses

Called by ``server``; ``requests`` and ``doubt`` are pure. It promises that a call is metered before
its client gets the answer, and hung up when that is impossible, its credit ends, or it drains.
"""
