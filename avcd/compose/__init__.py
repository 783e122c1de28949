"""Compose: registration, resampling, stacks, colour, previews. Pure functions; no catalogue, no network."""
