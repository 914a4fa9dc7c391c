"""A database and its copy that follows it, as files. Pure.

``source``  the primary's log, read to its end while a daemon commits
``log``     the copy's log, and how it is applied to the copy without a key
``frames``  what is in a log (pure)
"""
