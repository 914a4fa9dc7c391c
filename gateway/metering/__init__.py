"""What a response cost: from the frames of a provider to numbered batches of usage.

``base``, ``parsing``           what meters have in common; how they read what a peer wrote
``openai/``, ``gemini/``        the meters of the two protocol families
``account_errors``              errors about our own provider account, which a client must not see
``batching``                    responses of a session, five to a batch or one when it is shared
``usage_recorder``, ``totals``  the shell: journal, then batches for ``delivery``; sums

Called by ``relay`` and ``calls`` for every frame, before it is forwarded. All is pure but
``usage_recorder`` and ``totals``. It promises never to parse audio, to charge only what stands in a
parsed object, and to give an estimate of what a provider never reports.
"""
