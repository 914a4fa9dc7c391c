"""Calls (WebRTC, SIP): their audio passes between caller and provider, their events pass here.

``api``, ``requests``  ``POST /v1/realtime/calls`` and its verbs: made, taken, referred, hung up
``calls``              all calls that this gateway hears
``call``, ``doubt``    one call, heard over a sideband of the gateway's own; what a gap in it missed
``retrying``           what a provider could not do just now is tried again

Called by ``server``. ``requests`` is pure. It promises that a call is heard before its client is
told of it, and hung up when nobody can hear it, when its credit ends, or when the gateway stops.
"""
