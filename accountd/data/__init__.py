"""The database file. This is the only room that opens it.

``database``   opens it for serving or for migrating; transactions; temporary and fatal errors
``lock_file``, ``links``  whose lock it is; which names are of one database
``swap``       replaces the file, and what belongs to it, together
``snapshot``, ``private_copy``, ``partial_file``  copies: beside writers; of one's own; half-made
``journal``    the second file, which has the admin changes that a backup lacks
``models``     the tables, as ``migrations/`` makes them
``wal``, ``log_damage``, ``wal_header``  bounds the write-ahead log; what is lost in a damaged one
``snapshots``  the short snapshots of reports, which may be interrupted for it
``migrating``  copies the database, and applies what its schema lacks
``file_modes``, ``unopenable``, ``open_mark``, ``disk_errors``  why one does not open, or is torn
``retention``  deletes expired rows; ``archive_file``, ``pruning_lock``: where old usage goes, alone
``standby``    the files of a continuous copy, at both ends; ``standby_role``: what a file is

Called by every other room of accountd but ``ctl``. It promises one daemon for one file (flock), WAL
with ``synchronous=FULL``, and that a file which is not an encrypted database of this project is
refused and not changed.
"""
