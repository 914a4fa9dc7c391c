"""``accountctl export``: usage rows of the whole ledger, or of some accounts, for other programs.

``command``       the options; ``choosing``: those of formats
``jobs``          one export, to a file or not; what is new since the one before
``cursor``        where a job is that exports what is new
``files``         files that are there whole, or not at all
``pages``         the rows, read page by page from the daemon
``formats``       what each format makes of a page (pure)
``focus``         the columns of FOCUS (pure)
``cloud_events``  usage as CloudEvents (pure)
``rows``          what a row is, and its name everywhere (pure)
"""
