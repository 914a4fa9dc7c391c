"""Clients that are too heavy for ``make test``; ``make clients`` runs them in their own environment."""
