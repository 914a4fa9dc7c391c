"""What becomes of usage: is it new, what does it cost, what is left. Together or not at all.

``decision``               what becomes of a group of messages (pure)
``decision_types``         the state that a decision reads, and what it writes (pure)
``group_commit``           the shell: loads the state, writes the decision, one COMMIT
``windows``                duplicates and gaps, by the sequences of producers (pure)
``payload_digests``        conflicts: a known sequence with another content (pure)
``shared_responses``       one charge for a response that several sockets report (pure)
``charging``, ``cascade``  the price, and how it is split over the two buckets (pure)
``estimates``              from when on an account pays for what was never reported (pure)
``usage_rows``, ``usage_index``    write the rows; their index by account, in sorted segments
``response_ids``, ``key_spending`` a row's ids in short; what keys spend, by day (pure)
``rate_card_file``         the rate card in force, read from its file
``rejected``, ``retry_state``      the quarantine, and how it is charged later, once
``changed_accounts``, ``expectations``  accounts to be announced; what was here once and is missing

Called by ``app`` for usage, by ``accounts`` for grants, by ``rpc`` for rejected usage. It promises
that the balance of every account is the sum of its grants less the sum of its deductions.
"""
