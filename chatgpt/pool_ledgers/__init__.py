"""Where the books of a pool are kept, for both twins.

    keeping     what both ledgers do: wake the calls that were given an account
    local       in this process
    shared      in Redis, for all processes that share the accounts

A ledger decides nothing: what is written is `chatgpt.core.pool`'s.
"""
