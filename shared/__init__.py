"""What both daemons agree on. It imports neither.

``usage``                              usage as values: responses, batches, kinds (pure)
``wire``, ``announcements``, ``requests``  messages between the daemons, as bytes (pure)
``fields``, ``csv_cells``              what they may hold, checked; cells of CSV files (pure)
``rates``, ``rate_card``               what usage costs by a rate card; how a card is read (pure)
``billed_units``, ``other_units``      what providers bill for; what has no column (pure)
``provider_kinds``                     which kind a provider is of, by its name (pure)
``provider_reports``, ``limits``       what gateways tell of providers; what keys may do (pure)
``config``                             settings: options, environment, secrets from files
``state_machine``, ``token_bucket``    moves held against a table; how often may one (pure)
``errors``                             one tree of errors, by whose fault it is (pure)
``zmq_sockets``                        the one module that binds or connects a ZeroMQ socket
``ops_server``, ``metrics``, ``logs``  health and numbers over HTTP; one event, one line
``file_descriptors``, ``core_dumps``   as many open files as the system allows; no core dumps
``secret_files``, ``progress``         files with a secret; what a long command shows meanwhile
``standard_output``                    whose error it was when an answer cannot be written
"""
