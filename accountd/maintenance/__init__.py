"""What operators run on the database file: copies, proofs, replacements.

``verifying``  proves a file: pages, indexes, books; never changes it

Called by ``commands`` and by the daemon's children, beside a daemon or without one.
"""
