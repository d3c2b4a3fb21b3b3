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
   raises passes it by. (What a store raises once a reply is there becomes the cause of a `StoreError` that
   carries it: a reply is never lost.) An exchange never yields inside `finally`: closing is the shell's work.
4. A shell holds no condition on a status, a header, an option or a message.

Where to find what, in the order in which a message meets it:

    options.py       the settings of a client
    call_options.py  the options of a call: the question, and how it is answered
    validation.py    one value at a time: checked before anything is sent
    secrets.py       keys and tokens that nothing prints; headers and texts without them
    surrogates.py    text that is no valid Unicode: refused, joined or replaced
    messages.py      ChatMessage, Usage, ContextReport: what the caller gets
    records.py       a message as it is kept: JSON, and back
    documents.py     conversations as Markdown and HTML
    needs.py         needs, exchanges, and Running, which steps one
    official.py      what can be asked of the official flow, as exchanges
    moderation.py    send_moderation as an exchange
    drafts.py        what is answered: a new message, an edited one, another or a cut reply
    threads.py       from a message back to the first one; turns; how many of them fit
    trees.py         a conversation with all its branches
    displays.py      how a notebook shows usage, context and trees
    inert_markdown.py  the Markdown of a model, without what a page would run
    answering.py     a draft is answered: follow it from top to bottom
    composing.py     a draft becomes a request
    models.py        what is known of each family of models
    lessons.py       what a server's refusals teach, and how the next request heeds it
    refusals.py      which parameters a refusal names, in the words of many servers
    prompts.py       the two formats of a prompt, messages and text, and what they cost
    budget.py        what is sent costs so many tokens, counted or bounded
    calibration.py   what the server counts, against what is counted here
    fitting.py       what of a thread is sent, and the report of what was left out
    sending.py       sending with retries, within limits; reading an answer that is one document
    retry.py         what is tried again, and after how long
    limits.py        deadlines: the whole call, silence, connecting
    cancelling.py    CancelToken: a call is stopped from elsewhere
    sse.py           bytes in, server-sent events out
    answers.py       bytes in, events out, for a body that may be a stream or one document
    replies.py       events in, the reply out
    reading.py       reading an answer that grows, until it is complete
    streaming.py     the states of a stream of parts
    following.py     a conversation that keeps its ids
    error_bodies.py  from what a server wrote to a typed error
    context_lengths.py  the figures in a server's words when a prompt is too long
    errors.py        the tree of errors
    pool/            a pool of accounts: which is next, and what becomes of one that fails
    web/             the web flow: ChatGPT's own backend
    wire/            typed dictionaries of what travels
"""
