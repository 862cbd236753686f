"""`python -m acestep_like` is the command `acestep-like`."""

import sys

from acestep_like.entrypoints.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
