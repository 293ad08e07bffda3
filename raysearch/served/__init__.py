"""Model servers that a run brings along, or finds running: kept alive, and their addresses made known to agents.

`spec` says what a server is; `replica` is one process of it, from start to end; `fleet` looks after all replicas of a
run, wherever they are; `addresses` is where agents look them up.
"""
