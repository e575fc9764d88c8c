"""What is left when the same thing has been done again and again: nothing. See `benchmarks/memory.py`.

`kinds` says what is repeated, `async_kinds` and `green_kinds` are the programs for it, and `growth` looks at the
process in between and judges. The package as a program does one kind in this process, which should have done nothing
else before.
"""
