"""The further commands of ``accountd``, for the database file; ``cli`` lists them. Pure.

Each loads what it needs when it is run: ``serve`` has to start fast.
"""
