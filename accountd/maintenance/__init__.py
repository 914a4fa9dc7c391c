"""What operators run on the database file: copies, proofs, replacements.

``verifying``, ``manifests``  proves a file: pages, indexes, books; what a backup has to hold
``backup``            a proven copy; ``backup_words``, ``copy_errors``: what is said of it
``backups``           those of a running daemon, made by ``backup_child`` in a ``backup_process``
``backup_schedule``   when one is due, and which old ones are removed
``pruning``           old usage rows into an archive; ``archive_proof`` proves it
``restoring``         a backup in the place of the database, and what it lacks
``rekeying``          the database under another key
``following``         a continuous copy, and how it becomes the primary
``staging``           files that are made beside those in use, and then take their places
``replaying``         applies admin changes that a restored ledger lacks
``custody``           the daemon's journal, and what it knows to be missing

Called by ``commands`` and by the daemon's children, beside a daemon or without one.
"""
