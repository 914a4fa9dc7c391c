"""``accountctl export``: usage rows of the whole ledger, or of some accounts, for other programs.

``command``  the options, and where the rows go
``pages``    the rows, read page by page from the daemon
``formats``  what each format makes of a page (pure)
``rows``     what a row is, and its name everywhere (pure)
``files``    files that are there whole, or not at all
"""
