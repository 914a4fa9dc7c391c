"""What an account may still spend on this gateway, and what a session does about it.

``credit``        the balance that was announced, less what is metered and not in it yet (pure)
``pending``       usage in messages that no balance includes yet (pure)
``allotments``    a gateway's part of a balance; earlier ones that still bind (pure)
``credit_table``  the credit of every account, and which of them wait (pure)
``floor``         whose clients may ask where the credit pays few responses (pure)
``floors``        the shell of that: who is told that it has the floor, or has it no more
``cut_off``       when a session is paused or ended, and what it may finish (pure)
``prices``        the rate card that accountd charges by, fetched when it changes
``balances``      the shell: balances announced, or ``asked`` for; sessions notified of changes
``cap_seat``      whose turn it is among those that spend from one cap
``limited_credit``  a session with more ``purses`` than the account's credit: spending cap, limits

Called by ``relay`` and ``calls`` (may the client go on?) and by ``delivery.watermarks`` (it is
durable); ``door`` hands it to ``metering.usage_recorder`` (a response was metered). It promises
that a session ends within one response of the last credit, as far as this gateway can know.
"""
