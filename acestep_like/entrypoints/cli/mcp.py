"""The command `acestep-like mcp`: an MCP server over standard input and output."""

from __future__ import annotations

import argparse

from acestep_like.client.output import output_folder
from acestep_like.entrypoints.cli.console import DONE
from acestep_like.entrypoints.mcp import Workplace, build_server


def run_mcp(arguments: argparse.Namespace) -> int:
    """Serve until the client closes standard input."""
    workplace = Workplace(output_folder(arguments.out), arguments.model, arguments.device)
    build_server(workplace).run("stdio")
    return DONE
