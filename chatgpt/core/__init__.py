r"""The pure core: every decision of the SDK, and no input or output.

A conversation is a script: load the thread, choose what fits, send, wait, decode, save. The core
writes that script once, as generators called *exchanges*. An exchange never does a thing itself;
it yields *needs* ("send this request", "read some bytes", "save these messages"), and a shell
meets each need and sends the answer back:

    chatgpt.transport (requests)   \
                                  >  meets the needs of  ->  an exchange of the core
    chatgpt_async (httpx2, anyio) /

So both twins behave alike, and a test steps a whole conversation by hand, without a network, a
clock or a mock.

Rules, held by an import contract (setup.cfg) and by tests/core/test_purity.py:

1. No I/O: the core imports the pure parts of the standard library, attrs, sseclient and itself.
2. Nothing of the moment is imported: the clock, the date, ids, chance and the tokenizer are handed
   in (`needs.Surroundings`).
3. Only the failure of a network need is thrown into an exchange; whatever a caller's own callback
   raises passes it by. An exchange never yields inside `finally`: closing is the shell's work.
4. A shell holds no condition on a status, a header, an option or a message.

Where to find what, in the order in which a message meets it:

    options.py       the settings of a client, the options of a call
    validation.py    one value at a time: checked before anything is sent
    secrets.py       keys and tokens that nothing prints; headers and texts without them
    surrogates.py    text that is no valid Unicode: refused, joined or replaced
    messages.py      ChatMessage, Usage, ContextReport: what the caller gets
    needs.py         needs, exchanges, and Running, which steps one
    official.py      send_message as an exchange: follow it from top to bottom
    moderation.py    send_moderation as an exchange
    threads.py       from a message back to the first one; turns; how many of them fit
    models.py        what is known of each family of models
    budget.py        what a message costs in tokens, counted or bounded
    prompts.py       the messages that are sent, and the report of what was left out
    sending.py       sending with retries, within limits; reading an answer that is one document
    retry.py         what is tried again, and after how long
    limits.py        deadlines: the whole call, silence, connecting
    sse.py           bytes in, server-sent events out
    answers.py       bytes in, events out, for a body that may be a stream or one document
    replies.py       events in, the reply out
    reading.py       reading an answer that grows, until it is complete
    streaming.py     the states of a stream of parts
    error_bodies.py  from what a server wrote to a typed error
    errors.py        the tree of errors
    web/             the web flow: ChatGPT's own backend
    wire/            typed dictionaries of what travels
"""
