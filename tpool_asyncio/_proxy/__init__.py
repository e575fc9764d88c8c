"""The second folder of floor 1: objects whose methods run in a pool, whatever the spelling of the call.

It knows neither asyncio nor greenlet. The floors above say how a call is made, and what it gives: something to await,
or the result.
"""

__all__: list[str] = []
