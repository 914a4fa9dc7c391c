"""Conversations of sessions that have a name are stored by accountd, so that their clients can
come back to any gateway.

``encoding``  a conversation as two texts of bounded size, and back (pure)
``backlog``   states that accountd has not taken yet: the newest of each, bounded (pure)
``messages``  the requests to accountd and its answers (pure)
``claim``     one session's right to write its conversation (pure)
``openings``  asks accountd what is stored, for several sessions with one request
``store``     opens conversations, and hands their states to accountd every second

Called by ``door`` when a session is opened and when its client is gone. It promises that no frame
waits for accountd, that what was said is never logged, and that of two connections of one session
the newer one goes on.
"""
