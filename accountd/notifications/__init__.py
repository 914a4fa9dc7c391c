"""What accountd tells without being asked: on PUB, in ``/metrics``, in the log, to a webhook.

``announcer``   watermarks and balances, after the COMMIT that made them true
``counts``      what became of usage since the start
``unpriced``    usage that the rate card has no price for, logged once for each model
``low_credit``  accounts that fell to their mark
``webhook``     signed messages to the operator's URL, on a thread of its own, until they arrive

Called by ``app`` after each group. It promises that nothing is announced before it is durable, and
that a receiver which hangs holds nothing up.
"""
