"""What every way to make a call does when things go wrong, in the same cases for all of them.

A `case` is a small program into which one of the `ways` is plugged; it ends well or raises one of the `verdicts`. The
cases themselves are in `outcomes`, `waiters`, `points`, `loops`, `pools`, `reentry`, `processes`, `forks`, `exits`,
`signals`, `imports` and `memory`; `some_calls` is what some have in common. `child` runs one or more of them in this
process, `runner` has them run in processes of their own with a time limit, and `report` makes a table of what came of
it.

What a case demands is said in its docstring, and is the same for all. A package that promises something else is not
wrong: that is "differs". What it has nothing of is "n/a".
"""
