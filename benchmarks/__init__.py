"""Measurements: ratios in one run, interleaved; no absolute times.

What is measured, and where it stands:

    peers.py            the command: rounds, the file of results, the tables
    plan.py             who is compared, in which scenarios, and what each must have read
    sizes.py            how much is done in a scenario
    processes.py        the server and the clients, as processes
    fast_server.py      the server
    results.py          what was measured, `results.json`, and the table of it
    targets.py          what is asked of it, and the table of that
    plots.py            what the documentation shows of it

and in the process of a client:

    client_process.py   where it begins
    peer_clients.py     the clients, all doing the same
    calls.py            scenario: to the first reply; then, warm, round trips and streams
    imports.py          scenario: the import of a package alone
    prompts.py          scenario: the prompt of a long thread
    crowds.py           scenario: many streams at once
    runs.py             scenario: many calls, one after the other
    spending.py         CPU time, memory, sockets
    npm_client.mjs      two of the scenarios with npm `chatgpt`

By themselves stand `long_thread.py`, `stores.py` and `command_start.py`, whose ratios `make bench` prints, too.

`check.py` says whether ours costs more than it did: it compares ratios with those that are stored. `instructions.py` counts for
it, and `check_clients.py` is what is counted.
"""
