"""Clients that abuse a gateway, each kind against an honest client that is measured meanwhile.

=============  =================================================================================
``kinds``      every kind of abuse: how many, by which settings, and by what it is judged
``scripts``    what one abuser does, kind by kind
``wire``       a socket of an abuser
``abusers``    the process in which all abusers of one kind run
``honest``     the process of the honest client
``watch``      what the kernel knows of the gateway: its connections, memory and CPU
``run``        one attack on a cluster of its own
``verdict``    what was seen, and what is wrong with it: pure
=============  =================================================================================

``python -m tests.chaos.abuse [--only NAME]`` runs all, or one, and prints a table.
"""
