"""The further commands of ``accountd``, for the database file; ``cli`` lists them.

``rekey``    another key
``options``  options that they share

Each loads what it needs when it is run: ``serve`` has to start fast.
"""
