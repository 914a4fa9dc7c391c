"""What only reads: reports for operators and for the console, and the proof of the ledger.

``queries``     accounts, keys and usage, page by page
``statements``  what an account had, was granted and was charged in a period
``console``     the same for a key's owner, bounded
``audit``       every balance equals its grants less its deductions; every producer accounted for
``rate_check``  what a rate card would leave without a price

Called by ``rpc`` on the reader's thread, with a read-only connection: a report that takes minutes
holds up no commit.
"""
