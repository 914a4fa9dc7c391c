"""The command ``accountctl``: accounts, keys, usage and the audit, through the running daemon.

``cli``             the root command, which loads only the command that is asked for
``profile``         where the daemon is, when no setting says it
``accounts``        ``account``; likewise ``keys``, ``usage``, ``rejected``,
                    ``sessions``, ``providers``, ``backup``; ``proofs``: ``audit``, ``rates``
``output``          JSON for programs, text for people; says how many rows a list leaves out
``arguments``       how numbers are written; ``limits``: the options of ``limit``, how limits look
``confirming``      waits until gateways have obeyed, and says what ended there
``client``          one request, one answer, over DEALER
``export``          every usage row of an account, page by page; ``exporting``: of the ledger
``text``            longer answers as text (pure)
``provider_text``   providers as text (pure)
``statement_text``  usage and statements as tables and as CSV (pure)
``tables``          columns for people (pure)

It loads no database code (import-linter checks that), so the daemon is the only writer. Errors say
what was found, what was expected and what to do (exit codes: docs/OPERATIONS.md).
"""
