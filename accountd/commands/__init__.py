"""The further commands of ``accountd``, for the database file; ``cli`` lists them.

``rekey``            another key
``prune``            old rows into an archive; ``archive``, which proves one
``continuous_copy``  a standby: ``follow``, ``ship``, ``standby``, ``promote``
``options``          options that they share
``restore``          a backup in the place of the database
``backup``           a proven copy of the database
``verify``           a proof of a file

Each loads what it needs when it is run: ``serve`` has to start fast.
"""
