"""A continuous copy of the database, and how it becomes the primary. Pure.

``follower``   ``accountd follow``: starts the primary's end, and again when it ends; the status
``shipping``   the primary's end, ``accountd ship``: reads the file and its log, and sends them
``receiving``  the standby's end: a file and a log that are those of the primary
``promoting``  ``accountd promote``
``channel``    messages over two pipes
``messages``   what the ends say to each other, as bytes (pure)
"""
