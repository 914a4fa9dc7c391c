"""Whose a provider's handle is: the id of a call or a conversation, or a token to resume a session.

``handle``     what a handle is, and its name outside of the gateway: a hash (pure)
``ownership``  tells accountd what was given, asks about what is used
``ownership_check``  one question to accountd during which a first message is held
``resumable``  which live session was given which handle, so that it is closed before it is resumed

Called by ``door`` before a session opens, and by the meters' findings through
``metering.recorder``. It promises that no account reaches what another one said, and that no frame
waits for accountd.
"""
