"""What a caller may set in the web flow, and what he is told when it is wrong."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from chatgpt import ConfigurationError, Secret
from chatgpt.core.web.options import web_call_options
from tests.core.web.made import CONVERSATION, PARENT, proxy, session


def any_token(**_: str | None) -> str:
    return "token"


VERSION_8 = "67aa804e-4678-8006-970a-23d76d933f3c"


def test_the_defaults_of_a_proxy() -> None:
    settings = proxy()
    assert settings.conversation_url == "https://chatgpt.com/backend-api/conversation"
    assert (settings.model, settings.headers, settings.backend_api_base_url) == ("auto", {}, None)


def test_the_defaults_of_a_session() -> None:
    settings = session()
    assert settings.conversation_url == "https://chatgpt.com/backend-api/conversation"
    assert settings.api_base_url == "https://chatgpt.com/api"
    assert (settings.model, settings.access_token_ttl) == ("auto", 3600)
    assert settings.to_plain_text is None
    assert session(markdown=False).to_plain_text is not None


def test_slashes_at_the_end_are_no_matter() -> None:
    settings = session(
        api_base_url="http://localhost:1/api/",
        backend_api_base_url="http://localhost:1/backend-api//",
    )
    assert settings.api_base_url == "http://localhost:1/api"
    assert settings.conversation_url == "http://localhost:1/backend-api/conversation"


def test_tokens_of_the_environment() -> None:
    environment = {
        "OPENAI_ACCESS_TOKEN": Secret("from-env"),
        "OPENAI_BASE_URL": "http://elsewhere",
        "OPENAI_MODEL": "gpt-4o",
    }
    settings = proxy(environment)
    assert settings.access_token == Secret("from-env")
    assert settings.conversation_url.startswith("https://chatgpt.com/")
    assert settings.model == "auto"
    assert proxy(environment, access_token="given").access_token == Secret("given")
    assert proxy(environment, get_access_token=lambda **_: "x").access_token is None
    tokens: dict[str, object] = {
        "OPENAI_SESSION_TOKEN": Secret("s-env"),
        "OPENAI_CLEARANCE_TOKEN": Secret("c-env"),
        "OPENAI_ACCESS_TOKEN": Secret("from-env"),
    }
    both = session(tokens, session_token=None, clearance_token=None)
    assert (both.session_token, both.clearance_token) == (Secret("s-env"), Secret("c-env"))
    assert both.access_token is None


@pytest.mark.parametrize(
    ("given", "kind", "shown"),
    [
        ({"access_token": None}, ConfigurationError, "access_token is missing: give access_token"),
        ({"access_token": " "}, ConfigurationError, "access_token is blank"),
        ({"access_token": "a b"}, ConfigurationError, "access_token holds a line end"),
        ({"access_token": 5}, TypeError, "access_token must be a str or a Secret, not int"),
        ({"access_token": "Bearer abc"}, ConfigurationError, "begins with the word Bearer: leave it out"),
        ({"email": "e"}, ConfigurationError, "email is what get_access_token is called with"),
        ({"get_access_token": lambda email: email}, TypeError, "get_access_token is called with the keywords email, password, session_token"),
        ({"get_access_token": "x"}, TypeError, "get_access_token must be a function, not str"),
        ({"get_access_token": any_token, "email": 5}, TypeError, "email must be a str or a Secret"),
        ({"get_access_token": any_token, "password": ""}, ConfigurationError, "password is blank"),
        ({"get_access_token": any_token, "password": "a\udcfc"}, ConfigurationError, "password is not valid Unicode"),
        ({"api_reverse_proxy_url": "chat"}, ConfigurationError, "such as https://chatgpt.com/backend-api/conversation"),
        ({"api_reverse_proxy_url": "https://u:p@x/"}, ConfigurationError, "no user name or password"),
        ({"model": ""}, ConfigurationError, "model must not be blank"),
        ({"timeout": 0}, ConfigurationError, "timeout must be more than 0"),
        ({"max_retries": -1}, ConfigurationError, "max_retries must be at least 0"),
        ({"headers": {"a b": "x"}}, ConfigurationError, "headers has a name"),
        ({"proxy": "http://p:1", "session": object()}, ConfigurationError, "Give proxy, or"),
    ],
)  # fmt: skip
def test_bad_settings_of_a_proxy(given: dict[str, Any], kind: type[Exception], shown: str) -> None:
    with pytest.raises(kind, match=shown):
        proxy(**given)


@pytest.mark.parametrize(
    ("given", "kind", "shown"),
    [
        ({"session_token": None}, ConfigurationError, "session_token is missing: give session_token"),
        ({"clearance_token": None}, ConfigurationError, "clearance_token is missing"),
        ({"session_token": "a; b=c"}, ConfigurationError, "session_token holds a line end, a space"),
        ({"session_token": "a;b=c"}, ConfigurationError, "session_token is more than a cookie's value"),
        ({"clearance_token": 'a"b'}, ConfigurationError, "clearance_token is more than a cookie's value"),
        ({"access_token_ttl": 0}, ConfigurationError, "access_token_ttl must be more than 0"),
        ({"access_token_ttl": "1"}, TypeError, "access_token_ttl must be a number"),
        ({"markdown": 0}, TypeError, "markdown must be True or False, not int"),
        ({"user_agent": "a\nb"}, ConfigurationError, "user_agent must be ASCII without line ends"),
        ({"user_agent": ""}, ConfigurationError, "user_agent must not be empty"),
        ({"session_token": "__Secure-next-auth.session-token=abc"}, ConfigurationError, "session_token is more than"),
        ({"clearance_token": "cf_clearance=abc"}, ConfigurationError, "clearance_token is more than"),
        ({"api_base_url": "https://x"}, ConfigurationError, "Give both api_base_url and"),
        ({"user_agent": 5}, TypeError, "user_agent must be a str"),
        ({"api_base_url": "x", "backend_api_base_url": "https://x"}, ConfigurationError, "such as https://chatgpt.com/api"),
        ({"api_base_url": "https://x", "backend_api_base_url": "https://x/?a=b"}, ConfigurationError, "must have no query"),
    ],
)  # fmt: skip
def test_bad_settings_of_a_session(
    given: dict[str, Any], kind: type[Exception], shown: str
) -> None:
    with pytest.raises(kind, match=shown) as caught:
        session(**given)
    assert "a; b=c" not in str(caught.value)


def login(email: str, password: str) -> str:
    return f"{email} {password}"


@functools.wraps(login)
def adapter(**given: str | None) -> str:
    return login(str(given["email"]), str(given["password"]))


class Login:
    def __call__(self, *, email: str | None, **_: str | None) -> str:
        return str(email)

    def method(self, email: str, password: str, session_token: str | None = None) -> str:
        return email + password + str(session_token)


@pytest.mark.parametrize(
    "function",
    [any_token, adapter, Login(), Login().method, functools.partial(any_token, more="x"), dict],
)
def test_functions_that_get_tokens(function: Any) -> None:
    assert proxy(get_access_token=function).get_access_token is function


def test_headers_of_the_caller_win() -> None:
    headers = session(headers={"Origin": "https://x", "X-Extra": "1"}, user_agent="Me 1").headers
    assert (headers["origin"], headers["x-extra"], headers["user-agent"]) == (
        "https://x",
        "1",
        "Me 1",
    )


def test_the_secrets_are_masked() -> None:
    redact = session(headers={"X-Auth": "header-secret"}, access_token="access-secret").redactor()
    text = "session-token-1 clearance-token-1 access-secret header-secret"
    assert redact(text) == "*** *** *** ***"
    own = proxy(get_access_token=any_token, email="me@example.com", password="pass word", session_token="sess-1")  # fmt: skip
    assert own.redactor()("me@example.com, pass word, sess-1") == "***, ***, ***"


def test_what_a_pickle_left_behind() -> None:
    """A token that can be got anew is no loss; another one is missed when it is sent."""
    assert session(access_token=Secret(None)).access_token is None
    lost = Secret(None, "OPENAI_ACCESS_TOKEN")
    assert proxy(access_token=lost, get_access_token=any_token).access_token is None
    assert proxy(access_token=lost).access_token is lost


# --- the options of a call -------------------------------------------------------------------


def test_both_ids_or_neither() -> None:
    given: Any
    for given in ({}, {"parent_message_id": PARENT, "conversation_id": CONVERSATION}):
        web_call_options(proxy(), "hi", **given)
    with pytest.raises(ValueError, match="parent_message_id is missing: give conversation_id and"):
        web_call_options(proxy(), "hi", conversation_id=CONVERSATION)
    with pytest.raises(ValueError, match="conversation_id is missing"):
        web_call_options(proxy(), "hi", parent_message_id=PARENT)


def test_a_session_takes_one_of_them() -> None:
    assert web_call_options(session(), "hi", conversation_id=CONVERSATION).conversation_id
    assert web_call_options(session(), "hi", parent_message_id=PARENT).parent_message_id


@pytest.mark.parametrize("name", ["parent_message_id", "conversation_id", "message_id"])
@pytest.mark.parametrize(
    "value",
    [
        "nope",
        "chatcmpl-1",
        "11111111-1111-1111-8111-111111111111",
        "11111111-1111-4111-c111-111111111111",
        "11111111111141118111111111111111",
        f"{PARENT}\n",
        f"{PARENT}/../x",
    ],
)
def test_ids_that_are_no_uuids(name: str, value: str) -> None:
    given: Any = {"parent_message_id": PARENT, "conversation_id": CONVERSATION, name: value}
    with pytest.raises(ValueError, match=f"{name} must be a uuid of version 4"):
        web_call_options(proxy(), "hi", **given)


def test_conversations_of_today() -> None:
    options = web_call_options(proxy(), "hi", parent_message_id=PARENT, conversation_id=VERSION_8)
    assert options.conversation_id == VERSION_8
    with pytest.raises(ValueError, match="parent_message_id must be a uuid of version 4"):
        web_call_options(proxy(), "hi", parent_message_id=VERSION_8, conversation_id=VERSION_8)


def test_upper_case_is_as_good() -> None:
    assert web_call_options(session(), "hi", message_id=PARENT.upper()).message_id


@pytest.mark.parametrize(
    ("given", "kind", "shown"),
    [
        ({"text": ""}, ValueError, "text must not be empty"),
        ({"text": None}, TypeError, "text must be a str"),
        ({"text": "\ud800"}, ValueError, "lone surrogate"),
        (
            {"action": "continue"},
            ValueError,
            "action must be one of 'next', 'variant', not 'continue'",
        ),
        ({"action": None}, TypeError, "action must be a str"),
        ({"timeout": -1}, ValueError, "timeout must be more than 0"),
        ({"on_progress": 5}, TypeError, "on_progress must be a function"),
        ({"on_conversation_response": 5}, TypeError, "on_conversation_response must be a function"),
        ({"message_id": 5}, TypeError, "message_id must be a str"),
    ],
)
def test_bad_options(given: dict[str, Any], kind: type[Exception], shown: str) -> None:
    with pytest.raises(kind, match=shown):
        web_call_options(proxy(), given.pop("text", "hi"), **given)
