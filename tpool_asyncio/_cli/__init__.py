"""The command line: ``python -m tpool_asyncio``.

`main` reads the arguments and turns every ending into an exit code. `demo` does a real job three ways: `files` finds
what there is to do, `work` has the blocking calls, `contest` makes them in each way while `heartbeat` watches the
loop, and `result` says what came of it. `bench` shows what `tpool_asyncio._bench` measures.
"""
