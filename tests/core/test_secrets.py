from __future__ import annotations

import pickle

import pytest

from chatgpt.core.errors import ConfigurationError
from chatgpt.core.secrets import Secret, SecretMask, is_credential, wrap, wrap_headers, wrap_url

CANARY = "sk-canary-0123456789"


def test_no_way_of_printing_shows_it() -> None:
    secret = Secret(CANARY, "OPENAI_API_KEY")
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret} {secret!r}",
        repr({"k": secret}),
    ):
        assert "canary" not in shown
        assert "***" in shown


def test_it_is_no_str() -> None:
    secret = Secret(CANARY)
    assert str not in type(secret).__mro__
    with pytest.raises(TypeError):
        "Bearer " + secret  # type: ignore[operator]
    with pytest.raises(TypeError):
        " ".join(["Bearer", *[secret]])  # type: ignore[list-item]


def test_reveal() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_equality_is_by_value_and_never_with_a_str() -> None:
    assert Secret("a", "X") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_pickle_names_the_variable_and_not_the_value() -> None:
    pickled = pickle.dumps(Secret(CANARY, "OPENAI_API_KEY"))
    assert b"canary" not in pickled
    restored = pickle.loads(pickled)
    assert not restored.is_known
    assert restored.variable == "OPENAI_API_KEY"
    with pytest.raises(ConfigurationError, match="set OPENAI_API_KEY in the environment"):
        restored.reveal()
    with pytest.raises(ConfigurationError, match="pickle: give it again"):
        pickle.loads(pickle.dumps(Secret(CANARY))).reveal()


@pytest.mark.parametrize(
    "name", ["Authorization", "api-key", "X-Auth-Token", "Cookie", "x-goog-api-key", "X-Secret"]
)
def test_headers_that_are_credentials(name: str) -> None:
    assert is_credential(name)
    wrapped = wrap_headers({name: CANARY})
    assert isinstance(wrapped, dict)
    assert isinstance(wrapped[name], Secret)


@pytest.mark.parametrize("name", ["HTTP-Referer", "X-Title", "User-Agent", "Accept"])
def test_headers_that_are_not(name: str) -> None:
    assert wrap_headers({name: "x"}) == {name: "x"}


def test_wrapping_leaves_what_is_no_text_for_the_validation() -> None:
    assert wrap(None) is None
    assert wrap(17).kind == "int"  # type: ignore[union-attr]
    assert wrap_headers([1]).kind == "list"  # type: ignore[attr-defined]
    assert wrap_headers(None) is None
    assert wrap_headers({1: "x"}) == {1: "x"}
    assert wrap(" key\n") == Secret("key")


def test_a_proxy_is_wrapped_when_it_holds_a_password() -> None:
    assert wrap_url("http://proxy:3128") == "http://proxy:3128"
    assert isinstance(wrap_url("http://user:pass@proxy:3128"), Secret)
    assert wrap_url(None) is None


@pytest.mark.parametrize(
    "query",
    ["api-key=x", "a=b&key=x", "code=x", "sig=x", "Token=x", "a=sk-x", "a=b#access_token=x"],
)
def test_a_url_is_wrapped_when_its_query_holds_a_key(query: str) -> None:
    assert isinstance(wrap_url(f"https://host/v1?{query}"), Secret)
    assert (
        wrap_url("https://host/v1?api-version=2024-06-01&a=b")
        == "https://host/v1?api-version=2024-06-01&a=b"
    )
    assert wrap_url("https://host/@scope/v1") == "https://host/@scope/v1"
    assert isinstance(wrap_url("user:pass@host/v1"), Secret)


def test_redacting_masks_the_longest_first() -> None:
    redact = SecretMask([Secret("the-key"), Secret("the-key-long"), Secret(None), Secret("dummy")])
    assert redact("a the-key-long and a the-key, dummy") == "a *** and a ***, dummy"
    assert redact("nothing") == "nothing"


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("http://user:pw1234@localhost:3128", "connect to localhost failed"),
        ("http://user:pass-word@proxy.corp:8080", "no proxy at proxy.corp"),
        ("session=abcdef123; language=english", "your session expired; language english"),
        ("ApiKey abcdef", "use the ApiKey scheme"),
        ("BEARER abcdefgh", "BEARER, Bearer"),
        ("org-acme/openai/model", "openai model"),
    ],
)
def test_what_is_harmless_is_not_masked(secret: str, text: str) -> None:
    assert SecretMask([Secret(secret)])(text) == text


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("http://user:p%40ssw0rd@proxy.corp", "no: p@ssw0rd"),
        ("http://user:p%40ssw0rd@proxy.corp", "no: dXNlcjpwQHNzdzByZA=="),
        ("http://user:p%C3%A4sswort@proxy.corp", "no: dXNlcjpw5HNzd29ydA=="),
        ("http://user:p%C3%A4sswort@proxy.corp", "no: dXNlcjpww6Rzc3dvcnQ="),
        ("http://user:p%C3%A4sswort@proxy.corp", "no: pÃ¤sswort"),
        ("http://user:p%C3%A4sswort@proxy.corp", "no: p\\xe4sswort"),
        ("http://user:p%C3%A4sswort@proxy.corp", "no: p\\xc3\\xa4sswort"),
        ("http://user:p%40ssw0rd@proxy.corp", "no: p%40ssw0rd"),
        ("a/b+c/defghij", "no: a\\/b+c\\/defghij"),
        ("k\u00e9y-secret", "no: k\\u00e9y-secret"),
        ("session=abcdef123; language=english", "no: abcdef123"),
    ],
)
def test_the_forms_of_a_secret_are_masked(secret: str, text: str) -> None:
    assert SecretMask([Secret(secret)])(text) == "no: ***"
