"""What ``make check`` proves about the code's structure, beside ruff and mypy.

``pure.py``     pure modules reach no socket, clock, event loop or log (an import-linter contract)
``graph.py``    the picture of the packages in docs/ARCHITECTURE.md is the one of today
``sizes.py``    modules of at most 400 lines, functions of at most 60
``covered.py``  branch coverage of the pure modules (``make coverage``)
``mutants.py``  the mutation score where a wrong sign is money (``make mutation``)
"""
