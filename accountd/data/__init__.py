"""The database file: encrypted, proven, locked, durable. The only room that opens it.

``database``   opens it for serving or for migrating; transactions; which errors pass and which end
``models``     the tables, as ``migrations/`` makes them
``wal``        keeps the write-ahead log small
``retention``  forgets what is too old, a portion at a time

Called by every other room of accountd. It promises one daemon for one file (flock), WAL with
``synchronous=FULL``, and that a file which is not ours is refused and left as it is.
"""
