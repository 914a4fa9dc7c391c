"""How usage reaches accountd exactly once, whichever process is killed.

``outbox``                        what was sealed, sent, and is not known to be durable (pure)
``journal_format``, ``segments``  the file format; the segments, an index of sealed messages (pure)
``journal``                       one producer's journal: written and pruned (pure)
``journal_recovery``              reads a journal after a kill (pure)
``producer``                      one numbered stream: note, seal, release, in this order (pure)
``spool_files``                   folders and locks on the disk
``spool_manager``                 this process's journal and the adopted ones: fsync, retention
``retention``                     how long durable messages stay in the spool
``orphans``                       finds and adopts the journals of killed processes
``usage_sender``                  the producers of this process; what sessions call
``push_socket``, ``watermarks``   the PUSH socket; what accountd says is durable

Called by ``metering.usage_recorder``, to which ``door`` and ``calls`` hand it. It promises: noted
before it is forwarded, on the disk before it is sent, sent again until a watermark covers it.
docs/RELIABILITY.md says how that is proven.
"""
