"""Accounts, their keys, credit, handles and conversations: what requests may change.

``accounts``        accounts and keys: made, listed, enabled, revoked
``authorizations``  which key may open a session now
``recalls``         what gateways are told to end: sessions of a key, of an account, by name
``confirmations``   which gateways have obeyed that (pure)
``grants``          every change of a balance that is not usage, once for each id
``limits``          what a key and an account may do at most (pure); ``stored_limits``: theirs;
                    ``limit_words``: how operators write them (pure)
``spending``        what keys may still spend; ``spending_periods``: in which days (pure)
``plans``           how many subscription tokens a plan gives (pure)
``handles``         whose a provider's call, conversation or session is
``conversations``   what gateways store of sessions, and which connection may write it

Called by ``rpc``, on the one writing thread; ``authorize`` only reads, on the thread of requests.
It promises that only a key's hash is stored, and that a request which is repeated with its id
changes nothing twice.
"""
