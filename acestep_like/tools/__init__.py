"""Doors for agents."""
