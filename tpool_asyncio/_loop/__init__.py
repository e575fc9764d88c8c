"""Floor 2: calls that start in an asyncio event loop and whose outcomes come back to it. No greenlet, no anyio.

The modules, from the ground up: `gate` (the way into a loop from other threads), `mailbox` (outcomes on their way to
a loop), `call` (the future of a call), `option_call` (the same with options), `options` and `pool` (what users hold),
`entrance` (how the latter find the former), and `from_thread` (from a worker back to the loop).
"""
