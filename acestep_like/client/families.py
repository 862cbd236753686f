"""Model families by name. Each is a module of `client/providers` that is imported when it is first asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from acestep_like.errors import InputError
from acestep_like.models.catalog import FAMILIES
from acestep_like.models.loading import exclusive_load

if TYPE_CHECKING:
    from acestep_like.client.providers.base import Family


def family(name: str) -> Family:
    """What is known of a family before anything of it is loaded.

    Raises:
        InputError: no such family.
    """
    if name not in FAMILIES:
        raise InputError("model", name, "a family among " + ", ".join(FAMILIES))
    module = f"acestep_like.client.providers.{name}"
    if module not in sys.modules:
        with exclusive_load():  # that of ACE-Step imports diffusers
            import_module(module)
    found: Family = import_module(module).FAMILY
    return found
