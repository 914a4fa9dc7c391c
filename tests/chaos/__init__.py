"""Real processes killed and stopped at random under load; the provider's log is the oracle.

==============================  ================================================================
``oracle``   what must have been charged, and what was: pure
``clients``  sessions that come back whenever they are cut off
``cluster``  the processes: start, kill, stop for a while, start again
``run``      one run from the first session to the verdict
``lagging_accountd.py``         the real accountd, slowed, so that usage waits in front of it
``forgetful_gateway.py``        the real gateway without resends: the control
``talkers``                     clients of each protocol that talk all the time
``provider_cuts``               another run: these, and a provider that is cut off, or killed, again
                                and again
``pruning``                     ``accountd prune``, killed and with a disk that fails
``abuse``                       clients that abuse a gateway, and an honest one that is measured
==============================  ================================================================

``python -m tests.chaos --kills 100`` runs it and prints the verdict; so does
``python -m tests.chaos.provider_cuts --cuts 200`` (or ``--kills 200``),
``python -m tests.chaos.abuse`` and ``python -m tests.chaos.pruning``.
"""
