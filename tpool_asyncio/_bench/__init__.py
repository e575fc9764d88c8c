"""What a call costs on this machine, beside what it costs in the other packages that are installed.

`contestants` are the ways to make a call, `floors` the least that any way could cost, `workloads` what each has to do.
`child` measures one contestant in a process of its own, `child_process` is the parent's handle on it, and `rounds`
lets all of them take turns. `figures` has the medians and ratios, `table` and `targets` say them in words.

`subject` says what one table is about. `green_calls` and `bridge` are subjects of synchronous code, whose contestants
are `self_timed`; `worlds` are the packages with green threads, and `crowds` is what great numbers of those cost.

`proxy_rows`, `proxy_queries`, `proxy_lines` and `proxy_method` are subjects, too, about objects whose calls are made in
the pool. `proxy_connections` are the ways to a database, `proxy_material` is what there is to read. `one_processor`
makes small differences visible.

`on_loop` has contestants that are driven from inside a loop. Of that kind are `cpu`, for calls that hold the processor,
`fairness`, for how long short calls wait beside long ones, and `stall`, for how long the loop is held up; the latter
two have a module each for their tables. `scale` is about cost that should not grow: with the number of calls
(`scale_flight`, and `flight_memory` for what they take of memory), of threads (`scale_threads`), or of loops
(`scale_loops`). `resident` tells what memory a process has.

`web` is about services: `web_server` is a contestant's process, `web_load` the one that makes the requests, and
`web_watch` asks what does not block meanwhile.

`faults` is about what is right and wrong, not about what it costs: the same cases for every contestant.

No module here imports `tpool_asyncio.tpool` before the contestant of that name is opened. The package itself is loaded
in every child process, since these modules are part of it; it starts no thread and changes nothing before its first
call.
"""
