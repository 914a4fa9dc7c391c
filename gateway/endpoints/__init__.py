"""What the gateway answers over plain HTTP beside calls: the page, the console, ephemeral keys.

``api``                          which path and method belongs to which endpoint
``pages``                        the files of ``gateway/web/``, read once at the start
``console``                      reports about the account whose key asks
``minting``, ``client_secrets``  ephemeral keys: who gets one, and OpenAI's words for it (pure)
``fair_queue``                   whose question is next at accountd, so that one key delays no other

Called by ``server``; ``calls`` adds its own endpoints to ``api``. It promises that no request names
an account and none reaches the file system.
"""
