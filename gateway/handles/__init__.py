"""Whose a provider's handle is: the id of a call or a conversation, or a token to resume a session.

``handle``           what a handle is, and the digest that stands for it elsewhere (pure)
``ownership``        reports issued handles to accountd, checks those in use
``ownership_check``  one check while a session's first message is held
``resumable``        which live session was issued which handle: it is closed before it is resumed

Called by ``door``, ``calls`` and ``relay`` before a handle is used; what meters find is reported to
it through ``metering.usage_recorder``. It promises that no account reaches what another one said,
and that no frame waits for accountd.
"""
