"""The two sockets to accountd beside usage: requests (DEALER) and announcements (SUB).

``rpc_client``   asks who may talk, what is durable, what is left; every answer within 5 s
``subscriber``   hears watermarks and balances, and hands each topic to who wants it

Called by ``door``, ``handles``, ``credit`` and ``delivery``. Both are shells. What is not heard is
asked for, so a lost announcement costs time and never a charge.
"""
