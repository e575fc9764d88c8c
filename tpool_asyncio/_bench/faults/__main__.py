"""``python -m tpool_asyncio._bench.faults CONTESTANT LOOP CASE...``: see `child`."""

import sys

from tpool_asyncio._bench.faults.child import main

if __name__ == "__main__":
    main(sys.argv[1:])
