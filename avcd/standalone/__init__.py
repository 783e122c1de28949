"""Stages on files that are named on the command line: no home, no catalogue; the same stages, products and identities."""
