"""The steps that make the database's tables, in the order of their numbers. ``accountd migrate``.

Each file has ``up(migrator, db)`` (playhouse.migrations) and runs once, in a transaction. A
released file is never changed. A new one gets the highest number and one; the gap at 0010 stays.
"""
