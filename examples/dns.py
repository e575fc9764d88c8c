"""Names through the resolver of the operating system, which only exists as a blocking call.

Its own time limits are long and cannot be set per call, so each call here has one. A name that does not exist raises
the very exception that the blocking call raises.
"""

import asyncio
import os
import socket

from tpool_asyncio import tpool

# How long a resolver of glibc waits for a name server that is away; others have their own ways to say it.
os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")

resolver = tpool.options(timeout=20, name="resolver")


async def addresses(host: str) -> list[str]:
    """Return the addresses of a host, sorted and without duplicates."""
    found = await resolver.execute(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    return sorted({str(address[0]) for *_, address in found})


async def main() -> None:
    hosts = ["localhost", "127.0.0.1", "::1", "nowhere.invalid"]
    answers = await asyncio.gather(*(addresses(host) for host in hosts), return_exceptions=True)
    for host, answer in zip(hosts, answers, strict=True):
        match answer:
            case list():
                print(f"{host:<16} {', '.join(answer)}")
            case socket.gaierror():
                print(f"{host:<16} does not resolve: {answer.strerror}")
            case TimeoutError():
                print(f"{host:<16} {answer}")
            case _:
                raise answer

    by_host = dict(zip(hosts, answers, strict=True))
    localhost = by_host["localhost"]
    assert isinstance(localhost, list)
    assert {"127.0.0.1", "::1"} & set(localhost)
    assert by_host["127.0.0.1"] == ["127.0.0.1"]
    assert isinstance(by_host["nowhere.invalid"], OSError), "a name under .invalid resolved"


if __name__ == "__main__":
    asyncio.run(main())
