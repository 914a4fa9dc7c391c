"""The messages that accountd sends unasked: on PUB, in ``/metrics``, in the log, to a webhook.

``announcer``   announces watermarks and balances, after the COMMIT that wrote them
``counters``    counts applied, duplicate and rejected usage for ``/metrics``, and logs rejections
``unpriced``    usage that the rate card has no price for, logged once for each model
``low_credit``  accounts that fell to their low-credit mark
``webhook``     sends signed messages to the operator's URL, on a thread of its own, until accepted

Called by ``app`` after each group, and by ``rpc`` for gateways that ask for balances. It promises
that nothing is announced before it is durable, and that a receiver which hangs delays no usage.
"""
