"""Floor 3: synchronous code that waits like a coroutine. Greenlets, driven by asyncio tasks.

The words used here: a **green thread** is a greenlet in which synchronous code runs, and which an asyncio task drives.
A **hub** is what one OS thread has of them, over one event loop. The **script** is the code of a thread that runs
outside any loop; when it waits, its hub runs the loop for as long as that takes. An **interrupt** is an exception that
somebody else wants raised where a green thread or a script waits: a time limit, a kill, Ctrl-C.

The modules, from the ground up: `interrupts`, `driven` (greenlet and task), `hub`, `current` (the hub of this thread,
and how hubs end), `waiting` (the one place where synchronous code gives way), `green_thread`, and what is built on
these: `spawning`, `bridge`, `timeouts` and `trampoline`; `confined`, `event`, `semaphore`, `light_queue`, `queues`,
`green_map`, `green_pool`, `green_pile` and `corolocal`; and `green_call`, `script_call` and `pool`.
"""
