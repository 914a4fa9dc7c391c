"""What becomes of usage: is it new, what does it cost, what is left. Together or not at all.

``ingest``, ``decision_types``    what becomes of a group of messages (pure)
``windows``, ``payload_digests``  duplicates, gaps and conflicts, by the sequences of producers
``shared_responses``              one charge for a response that several sockets report (pure)
``charging``, ``cascade``         the price, and how it is split over the two buckets (pure)
``estimates``                     from when on an account pays for what was never reported (pure)
``ledger``                        the shell: loads the state, writes the decision, one COMMIT
``rate_card_file``                the rate card in force, read from its file
``rejected``                      the quarantine, and how it is charged later, once
``changed_accounts``              accounts that requests changed, to be announced

Called by ``app`` for usage and by ``rpc`` for requests about rejected usage. It promises that for
every account the balance is the sum of its grants less the sum of its deductions.
"""
