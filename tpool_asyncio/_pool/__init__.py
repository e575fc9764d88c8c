"""Floor 1: native threads that run jobs. No asyncio, no greenlet.

The words used here: a **job** is one call inside the pool. A **worker** is one native thread that runs jobs. A
**crew** is the workers and the queue of a pool between one ``killall`` and the next. A **thread pool** is what stays
when crews come and go: the size, the name, the totals.

The modules, from the ground up: `refusal`, `job`, `statistics`, `worker`, `inline`, `crew`, `thread_pool`, `lifetime`
(fork and exit), `size` (what a size may be) and `default` (the pool that the whole process shares). Beside them
`engine`, which runs calls on an executor, with `engine_face`, `ticket`, `outlet`, `parting` and
`engine_errors`.
"""
