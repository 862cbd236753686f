"""Families."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from acestep_like.errors import InputError
from acestep_like.models.catalog import FAMILIES

if TYPE_CHECKING:
    from acestep_like.client.providers.base import Family


def family(name: str) -> Family:
    """What is known of a family; imports its module, which loads no framework but torch."""
    if name not in FAMILIES:
        raise InputError("model", name, "a family among " + ", ".join(FAMILIES))
    found: Family = import_module(f"acestep_like.client.providers.{name}").FAMILY
    return found
