"""Clients that are too heavy for ``make test``; ``make clients`` runs them, in an own environment."""
