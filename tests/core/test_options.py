from __future__ import annotations

import pickle
from math import nan
from typing import Any

import pytest

from chatgpt import ConfigurationError, ModelFamily
from chatgpt.core.secrets import Secret
from chatgpt.core.validation import base_url_of
from tests.stepping import settings


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        (" http://localhost:11434 ", "http://localhost:11434/v1"),
        (
            "https://host/openai/deployments/d?api-version=1",
            "https://host/openai/deployments/d?api-version=1",
        ),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("https://host/x#fragment", "https://host/x"),
    ],
)
def test_base_urls_are_normalised(given: str, url: str) -> None:
    assert base_url_of("api_base_url", given) == url


@pytest.mark.parametrize(
    "given",
    [
        "",
        "api.openai.com",
        "ftp://host",
        "https://",
        "http://ho st/",
        "http://host:99999",
        "http://[::1",
    ],
)
def test_base_urls_that_are_none(given: str) -> None:
    with pytest.raises(ConfigurationError, match="api_base_url must"):
        base_url_of("api_base_url", given)
    with pytest.raises(ConfigurationError, match="api_base_url must hold no user name"):
        settings(api_base_url="https://user:canary@host")


def test_a_query_of_the_base_url_is_kept() -> None:
    assert (
        settings(api_base_url="https://h/d?v=1").url("/chat/completions")
        == "https://h/d/chat/completions?v=1"
    )


def test_a_key_is_required_except_on_this_machine() -> None:
    with pytest.raises(ConfigurationError, match="api_key is missing"):
        settings(api_key=None)
    for url in (
        "http://localhost:1",
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://ollama.localhost",
    ):
        assert settings(api_key=None, api_base_url=url).api_key is None
        assert "authorization" not in settings(api_key=None, api_base_url=url).request_headers()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "is blank"),
        ("  \n", "is blank"),
        ("sk-canary\r\nx: y", "holds a line end"),
        ("sk canary", "holds a line end, a space"),
        ("sk-canary\u200b", "outside ASCII"),
    ],
)
def test_a_key_that_cannot_be_sent(key: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        settings(api_key=key)
    assert "canary" not in str(caught.value)


def test_a_line_end_around_a_key_is_dropped() -> None:
    assert settings(api_key=" sk-test\r\n").api_key == Secret("sk-test")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"api_key": 5}, "api_key must be a str or a Secret, not int"),
        ({"api_org": b"x"}, "api_org must be a str or a Secret, not bytes"),
        ({"api_base_url": 1}, "api_base_url must be a str, not int"),
        ({"model": 1}, "model must be a str, not int"),
        ({"completion_params": [1]}, "completion_params must be a mapping"),
        ({"completion_params": {1: 2}}, "completion_params has a key of type int"),
        ({"system_message": 1}, "system_message must be a str, not int"),
        ({"timeout": "1"}, "timeout must be a number of seconds, not str"),
        ({"timeout": True}, "timeout must be a number of seconds, not bool"),
        ({"max_retries": 1.5}, "max_retries must be an int, not float"),
        ({"max_model_tokens": True}, "max_model_tokens must be an int, not bool"),
        ({"headers": "x"}, "headers must be a mapping"),
        ({"headers": {"x": 1}}, r"headers\['x'\] must be a str, not int"),
        ({"proxy": 1}, "proxy must be a URL"),
        ({"tokenizer": "cl100k_base"}, "tokenizer must be a function"),
    ],
)
def test_settings_of_the_wrong_type(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        settings(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"timeout": 0}, "timeout must be more than 0 seconds"),
        ({"timeout": -1}, "timeout must be more than 0 seconds"),
        ({"idle_timeout": nan}, "idle_timeout must be more than 0"),
        ({"connect_timeout": -0.5}, "connect_timeout must be more than 0"),
        ({"max_retries": -1}, "max_retries must be at least 0, not -1"),
        ({"max_model_tokens": 0}, "max_model_tokens must be at least 1"),
        ({"max_response_tokens": 0}, "max_response_tokens must be at least 1"),
        (
            {"max_model_tokens": 100, "max_response_tokens": 100},
            "leaves no room for a prompt in a window of 100",
        ),
        ({"headers": {"x y": "z"}}, "a name that HTTP does not allow: 'x y'"),
        ({"headers": {"x": "a\r\nb"}}, r"headers\['x'\] holds a line end"),
        ({"headers": {"x": " a"}}, "begins or ends with a space"),
        ({"headers": {"x-token": "a\nb"}}, r"headers\['x-token'\] holds a line end"),
        ({"proxy": "proxy:3128"}, "proxy must be a URL such as"),
        ({"proxy": "http://user:pa#ss@h:1"}, "proxy must be a URL such as"),
        ({"proxy": "http://user:pw@"}, "proxy must be a URL such as"),
        ({"headers": {"Content-Length": "3"}}, "the transport frames the body"),
        ({"proxy": "http://u:p@ho st"}, "proxy must be a URL such as"),
        ({"api_project": "p q"}, "api_project must be visible ASCII"),
        ({"api_reverse_proxy_url": "nowhere"}, "api_reverse_proxy_url must be an http"),
        ({"model": "a", "completion_params": {"model": "b"}}, "give one of them"),
        (
            {"max_response_tokens": 5, "completion_params": {"max_tokens": 7}},
            "5 and .* 7 tokens: give one of them",
        ),
        ({"api_base_url": "https://h/v1/chat/completions"}, "ends with the path of an endpoint"),
        ({"api_base_url": "localhost:11434"}, "such as .*; it lacks http:// or https://"),
        ({"model": " "}, "model must not be blank"),
        (
            {"completion_params": {"temperature": nan}},
            r"completion_params\['temperature'\] is not JSON",
        ),
        ({"completion_params": {"x": object()}}, r"completion_params\['x'\] is not JSON"),
        ({"completion_params": {"x": "\ud800"}}, r"completion_params\['x'\] is not JSON"),
        ({"system_message": "\ud800"}, "system_message holds a lone surrogate"),
    ],
)
def test_settings_with_a_bad_value(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings(**given)


def test_the_environment_fills_up_and_an_argument_wins() -> None:
    environment = {
        "OPENAI_API_KEY": Secret("sk-env", "OPENAI_API_KEY"),
        "OPENAI_API_ORG": Secret("org-alias"),
        "OPENAI_API_BASE_URL": "https://alias",
        "OPENAI_PROJECT_ID": "proj",
        "OPENAI_MODEL": "gpt-4o",
    }
    filled = settings(environment, api_key=None)
    assert filled.api_key == Secret("sk-env")
    assert filled.api_org == Secret("org-alias")
    assert filled.api_base_url == "https://alias/v1"
    assert filled.api_project == "proj"
    assert filled.model == "gpt-4o"
    given = settings(
        {**environment, "OPENAI_BASE_URL": "https://first", "OPENAI_ORG_ID": Secret("org-first")},
        model="gpt-4",
    )
    assert given.api_key == Secret("sk-test")
    assert given.api_base_url == "https://first/v1"
    assert given.api_org == Secret("org-first")
    assert given.model == "gpt-4"
    assert settings().model == "gpt-5.4-mini"


def test_a_secret_that_a_pickle_left_behind() -> None:
    left_behind = pickle.loads(pickle.dumps(Secret("sk-old", "OPENAI_API_KEY")))
    without = settings(api_key=left_behind)
    with pytest.raises(
        ConfigurationError, match="set OPENAI_API_KEY in the environment, or give it again"
    ):
        without.request_headers()


def test_a_reverse_proxy_is_the_only_server_that_gets_the_key() -> None:
    environment = {"OPENAI_BASE_URL": "https://elsewhere"}
    proxied = settings(environment, api_reverse_proxy_url="https://proxy/api?v=1")
    assert proxied.message_url("chat") == "https://proxy/api?v=1"
    with pytest.raises(ConfigurationError, match="Give api_base_url to use /moderations"):
        proxied.url("/moderations")
    both = settings(api_reverse_proxy_url="https://proxy/api", api_base_url="https://base")
    assert both.url("/moderations") == "https://base/v1/moderations"
    assert settings(api_key=None, api_reverse_proxy_url="http://localhost/api").api_key is None


def test_the_headers_of_a_request() -> None:
    headers = settings(
        api_org="org-1",
        api_project="proj",
        headers={"X-Title": "t", "User-Agent": "mine", "api-key": "azure"},
    ).request_headers()
    assert headers == {
        "accept": "*/*",
        "content-type": "application/json",
        "user-agent": "mine",
        "authorization": Secret("Bearer sk-test"),
        "openai-organization": Secret("org-1"),
        "openai-project": "proj",
        "x-title": "t",
        "api-key": Secret("azure"),
    }


@pytest.mark.parametrize(
    ("family", "kind", "message"),
    [
        (5, TypeError, "must be a ModelFamily, or the name of a model of that family, not int"),
        ("llama", ConfigurationError, "a model whose family is not known, 'llama'"),
        (ModelFamily(endpoint="blah"), ConfigurationError, "model_family.endpoint must be one of"),  # type: ignore[arg-type] # that is the point
        (ModelFamily(max_input="x"), TypeError, "model_family.max_input must be an int, not str"),  # type: ignore[arg-type] # the same
        (ModelFamily(max_input=-5), ConfigurationError, "model_family.max_input must be at least 1"),
        (ModelFamily(refuses="stop"), TypeError, "model_family.refuses must be a set or frozenset of names, not str"),  # type: ignore[arg-type] # the same
        (ModelFamily(default_effort=5), TypeError, "model_family.default_effort must be a str, not int"),  # type: ignore[arg-type] # the same
        (ModelFamily(shares_window="no"), TypeError, "model_family.shares_window must be True or False"),  # type: ignore[arg-type] # the same
        (ModelFamily(prefix=5), TypeError, "model_family.prefix must be a str, not int"),  # type: ignore[arg-type] # the same
        (ModelFamily(encoding="nope"), ConfigurationError, "model_family.encoding must be one of"),
        (ModelFamily(limit_name="zzz"), ConfigurationError, "model_family.limit_name must be one of"),  # type: ignore[arg-type] # the same
    ],
)  # fmt: skip
def test_a_family_that_is_none(family: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        settings(model_family=family)


def test_what_a_caller_says_of_a_model_wins() -> None:
    own = ModelFamily(max_input=5_000, endpoint="completions")
    assert settings(model_family=own).family("gpt-4o") is own
    assert settings(model_family="gpt-4").family("mine").max_input == 8_192
    assert settings(model_family="gpt-4", max_model_tokens=100).family("mine").max_input == 100
    assert settings(endpoint="completions").endpoint_of(own) == "completions"
    assert settings(endpoint="chat").endpoint_of(own) == "chat"
    assert settings().endpoint_of(own) == "completions"
    with pytest.raises(ConfigurationError, match="endpoint must be one of 'chat', 'completions'"):
        settings(endpoint="responses")


def test_where_messages_are_posted() -> None:
    own = settings(api_base_url="https://h/v1")
    assert own.message_url("chat") == "https://h/v1/chat/completions"
    assert own.message_url("completions") == "https://h/v1/completions"
    proxied = settings(api_reverse_proxy_url="https://p/x")
    assert proxied.message_url("completions") == "https://p/x"


def test_settings_show_no_secret() -> None:
    shown = repr(
        settings(
            api_key="sk-canary",
            api_org="canary",
            headers={"api-key": "canary"},
            proxy="http://u:canary@h",
        )
    )
    assert "canary" not in shown


def test_everything_secret_is_redacted() -> None:
    redact = settings(
        api_key="key-01",
        api_org="org-01",
        headers={"api-key": "hdr-01", "x": "plain"},
        proxy="http://u:p@h",
    ).redactor()
    assert redact("key-01 org-01 hdr-01 plain http://u:p@h") == "*** *** *** plain ***"


# --- the options of a call -------------------------------------------------------------------


def test_parameters_are_copied() -> None:
    stop: list[object] = ["END"]
    own = settings(completion_params={"stop": stop})
    stop.append(object())
    assert own.completion_params == {"stop": ["END"]}


def test_a_value_that_may_be_a_key_is_not_shown() -> None:
    cases: list[dict[str, Any]] = [
        {"api_base_url": "sk-canary"},
        {"api_base_url": "https://h:x/?k=canary"},
        {"api_project": "can ary"},
    ]
    for given in cases:
        with pytest.raises(ConfigurationError) as caught:
            settings(**given)
        assert "ary" not in str(caught.value)
