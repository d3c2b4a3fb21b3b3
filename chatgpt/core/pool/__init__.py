"""A pool of accounts: which of them answers next, and what becomes of one that fails.

    state        the books: who uses which account, who waits, who cools down; and who is next
    events       what is written into the books: a call begins, ends, fails; an account is put back
    documents    the books as JSON, for processes that share them
    failures     what an error says of the account that it came from
    options      what a caller gives: options and accounts
    accounts     what a pool tells of its accounts
    members      the clients of a pool, as its calls see them
    needs        what a call of a pool needs, beside what that of a client needs
    sending      one call, from account to account

Strategy: the books are one immutable value, and whatever happens is a pure function of it, of the time and of
an event. A ledger keeps the latest value: in this process, or in Redis for all who share the accounts. Neither
decides anything.
"""
