"""Checks of the code's structure, beside ruff and mypy; ``make check`` runs the first four.

``pure.py``        pure modules reach no socket, clock, event loop or log (a contract of
import-linter)
``graph.py``       the picture of the packages in docs/ARCHITECTURE.md agrees with the imports
``sizes.py``       modules of at most 400 lines, functions of at most 60
``duplicates.py``  no eight lines stand in two places
``covered.py``     branch coverage of the pure modules (``make coverage``)
``mutants.py``     the mutation score of modules that compute charges (``make mutation``)
"""
