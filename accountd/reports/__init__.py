"""Requests that only read: reports for operators and for the console, and the audit.

``account_usage`` the rows of an account in a ``period`` (pure)
``queries``     accounts, keys and usage, page by page
``exports``     usage rows of all accounts, in order, page by page
``statements``  the balances, grants and charges of an account in a period
``console``     the same for the owner of a key, bounded
``conversations``  which conversations are stored, and what one says
``audit``       proves every balance, and finds missing batches of every producer
``rate_check``  usage and units that a rate card has no price for

Called by ``rpc`` on the reader's thread, with a read-only connection: a report that takes minutes
delays no commit.
"""
