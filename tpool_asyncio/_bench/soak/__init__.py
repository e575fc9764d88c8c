"""Everything at once, for as long as one likes: see `benchmarks/soak.py`.

`ledger` keeps account of the calls, `async_life` and `green_life` are threads that make them, on loops of
`watched_loop`, `process` looks after the process as a whole, and `soak` puts them together.
"""
