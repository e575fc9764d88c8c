"""``python -m tpool_asyncio``."""

import sys

from tpool_asyncio._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
