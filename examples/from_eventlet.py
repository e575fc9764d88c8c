"""Off Eventlet: the same code, with other import lines.

Where a line has been changed, the comment before it shows what it was.
"""

import asyncio
import email
import threading
from pathlib import Path

# from eventlet import tpool
# import eventlet
from tpool_asyncio import green
from tpool_asyncio import tpool as async_tpool
from tpool_asyncio.green import tpool

PAGES = sorted(Path(email.__file__).parent.glob("*.py"))
"""What is read in place of pages of the web, so that no network is needed."""


# 1. The example of Eventlet's own documentation. Only its import line has been changed.


def my_func(starting_ident: int) -> None:
    print("running in new thread:", starting_ident != threading.get_ident())


# 2. A crawl. Eventlet's urlopen was a green one; here the blocking call goes to the pool.


def fetch(page: Path) -> bytes:
    # return urlopen(page).read()
    return tpool.execute(page.read_bytes)


def crawl() -> int:
    # pool = eventlet.GreenPool(10)
    pool = green.GreenPool(10)
    return sum(len(body) for body in pool.imap(fetch, PAGES))


# 3. Function by function to `await`, whenever there is time for it. Both halves use the same pool.


async def async_fetch(page: Path) -> bytes:
    return await async_tpool.execute(page.read_bytes)


async def async_crawl() -> int:
    bodies = await asyncio.gather(*(async_fetch(page) for page in PAGES))
    return sum(map(len, bodies))


async def moved() -> None:
    expected = sum(page.stat().st_size for page in PAGES)
    assert await async_crawl() == expected
    assert await green.run(crawl) == expected  # what has not been moved yet, called from what has
    print(f"and the same {expected} bytes in async code")


def main() -> None:
    tpool.execute(my_func, threading.get_ident())
    total = crawl()
    print(f"{len(PAGES)} pages, {total} bytes")
    assert total == sum(page.stat().st_size for page in PAGES)
    asyncio.run(moved())


if __name__ == "__main__":
    main()
