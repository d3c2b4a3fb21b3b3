from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiktoken
from tiktoken_ext import openai_public

from chatgpt import tokenizer
from chatgpt.tokenizer import PATTERNS, load_tokenizer, read_vocabulary

SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}


@pytest.mark.parametrize("encoding", SHA256)
def test_the_vocabularies_are_those_that_openai_publishes(encoding: str) -> None:
    assert hashlib.sha256(read_vocabulary(encoding)).hexdigest() == SHA256[encoding]


@pytest.mark.parametrize("encoding", SHA256)
def test_tiktoken_agrees(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own pattern, hash and special tokens, over the vocabulary in the package."""
    ranks = {}

    def load(_: str, expected_hash: str) -> dict[bytes, int]:
        assert expected_hash == SHA256[encoding]
        lines = (line.split() for line in read_vocabulary(encoding).splitlines())
        import base64

        return {base64.b64decode(token): int(rank) for token, rank in lines}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", load)
    constructor = getattr(openai_public, encoding)()
    ranks = constructor["mergeable_ranks"]
    assert constructor["pat_str"] == PATTERNS[encoding]
    theirs = tiktoken.Encoding(**constructor)
    ours = load_tokenizer(encoding)
    for text in (
        "",
        "Hello, world!",
        "Grüße 你好 👋🏽\u2028",
        "def f(x):\n    return x  # y\n\n",
        "a" * 500,
        "it's 12345 o'clock",
    ):
        assert ours(text) == len(theirs.encode_ordinary(text))
    assert len(ranks) > 100_000


@pytest.mark.parametrize("encoding", SHA256)
def test_special_tokens_are_text(encoding: str) -> None:
    count = load_tokenizer(encoding)
    assert count("<|endoftext|>") > 1
    assert count("a<|im_start|>b<|fim_prefix|>") > 5


def test_very_long_texts_are_counted() -> None:
    """A million of white space makes tiktoken's search panic; its exception is no `Exception`."""
    count = load_tokenizer("o200k_base")
    assert 0 < count(" " * 1_100_000) < 1_100_000
    assert count("a" * 1_000_000) == 125_000
    words = "word " * 60_000
    assert count(words) == pytest.approx(60_000, abs=5)


def test_a_lone_surrogate_does_not_stop_the_counting() -> None:
    assert load_tokenizer("o200k_base")("a\ud800") > 0


def test_it_is_loaded_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(8) as pool:
        counters = set(pool.map(load_tokenizer, ["o200k_base"] * 16))
    assert len(counters) == 1
    assert tokenizer._load.cache_info().currsize <= 2


def test_an_unknown_encoding() -> None:
    with pytest.raises(
        ValueError, match=r"one of \['cl100k_base', 'o200k_base'\], not 'p50k_base'"
    ):
        load_tokenizer("p50k_base")


def test_counting_needs_no_network() -> None:
    """In a process of its own, without a cache of tiktoken's, and with sockets that fail."""
    program = (
        "import socket\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from chatgpt.tokenizer import load_tokenizer\n"
        "print(load_tokenizer('cl100k_base')('Hello world'))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "2"
