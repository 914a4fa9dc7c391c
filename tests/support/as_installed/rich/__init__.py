"""Not installed where the project runs: structlog loads it wherever it is, for a sixth of a start.

The harness puts this folder into ``PYTHONPATH``; linters bring the real one.
"""

raise ImportError("rich is not a dependency of realtime-switch")
