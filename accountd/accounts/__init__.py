"""Accounts, their keys, their credit and their handles: what requests may change.

``accounts``  accounts and keys: made, listed, enabled, revoked; which key may talk
``grants``    every change of a balance that is not usage, once for each id
``plans``     how many subscription tokens a plan gives (pure)
``handles``   whose a provider's call, conversation or session is

Called by ``rpc``, on the one writing thread. It promises that only a key's hash is stored, and that
a request which is repeated with its id changes nothing twice.
"""
