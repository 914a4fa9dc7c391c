"""Accounts, their keys, credit, handles and conversations: what requests may change.

``accounts``        accounts and keys: made, listed, enabled, revoked
``authorizations``  which key may open a session now
``recalls``         what gateways are told to end; ``confirmations``: which have obeyed (pure)
``grants``          every change of a balance that is not usage, once for each id; ``plans``:
                    how many subscription tokens a plan gives (pure)
``limits``          what a key and an account may do at most (pure); ``stored_limits``: what
                    operators set; ``limit_words``: how they write it (pure)
``live_sessions``   counts sessions that are limited; pure: ``session_counts`` (whether there may
                    be one more), ``leases`` (those that live), ``session_rates`` (that begin)
``spending``        what keys may still spend; ``spending_periods``: in which days (pure)
``handles``         whose a provider's call, conversation or session is
``conversations``   what gateways store of sessions, and which connection may write it

Called by ``rpc`` on the one writing thread, on that of requests where it only reads. It promises
that only a key's hash is stored, and that a request repeated with its id is one.
"""
