"""Families of models: whole published networks, and the general one on any backbone."""
