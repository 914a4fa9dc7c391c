"""What gateways report of themselves, and what they are told to do.

``gateways``   the newest report of each gateway, and what they add up to (pure)
``providers``  requests about providers: reports, the overview, drain and resume

Called by ``rpc``, on the one writing thread. Reports live in memory alone: a gateway sends the next
one within seconds. Which providers are drained is stored.
"""
