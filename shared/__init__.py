"""What both daemons agree on. It imports neither.

``wire``, ``announcements``      messages between the daemons, as values and as bytes (pure)
``rates``                        the rate card and what usage costs by it (pure)
``billed_units``, ``other_units`` what providers bill for; what no column has a place for (pure)
``config``                       settings: options, environment, secrets from files
``errors``                       one tree of errors, by whose fault it is (pure)
``transport``                    the one module that binds or connects a ZeroMQ socket
``ops``, ``metrics``, ``logs``   health and numbers over HTTP; one event, one line
``descriptors``                  as many open files as the system allows
"""
