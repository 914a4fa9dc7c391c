"""The command ``accountctl``: accounts, keys, usage and the audit, through the running daemon.

``cli``             the root command, ``audit`` and ``rates``
``accounts``        ``account``; likewise ``keys``, ``usage``, ``rejected``
``output``          JSON for programs, text for people; says what a list leaves out
``client``          one request, one answer, over DEALER
``export``          every usage row of an account, page by page
``text``            how longer answers look (pure)
``statement_text``  usage and statements as tables and as CSV (pure)
``tables``          columns for people (pure)

It loads no database (import-linter): there is never a second writer. Errors say what was found,
what was expected and what to do, with the exit codes of docs/OPERATIONS.md.
"""
