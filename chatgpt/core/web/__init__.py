"""The web flow: ChatGPT's own backend, as npm `chatgpt` 3 to 5 spoke it and as it speaks now.

The server keeps the thread; a client sends one message and the id of its parent. The interface is
unofficial: it is known from what clients of it have seen, and may change at any time.

Where to find what, in the order in which a message meets it:

    options.py         the settings of the two clients, the options of a call
    access.py          access tokens: cached, renewed once for all who wait
    session.py         the session of `ChatGPTSessionAPI`, which gives access tokens
    requests.py        headers, cookies, tokens; sending with them
    send.py            send_message as an exchange
    events.py          events in, snapshots of the conversation out, in both dialects
    deltas.py          the dialect `delta_encoding` v1: a tree that operations change
    texts.py           a text that is told again as it grows, and what is new in it
    messages.py        what a message of the server is: its role, its text, whether it is shown
    replies.py         snapshots in, the reply out
    conversations.py   the conversations that the server keeps: listing, reading, changing
    mapping.py         from the tree of a stored conversation to its thread
    exports.py         the conversations of a data export, as messages
    moderation.py      send_moderation of the web flow
    following.py       a conversation that keeps its ids
"""
