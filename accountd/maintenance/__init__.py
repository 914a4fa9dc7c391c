"""What operators run on the database file: copies, proofs, replacements. Pure.

Called by ``commands`` and by the daemon's children, beside a daemon or without one.
"""
