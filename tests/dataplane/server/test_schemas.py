"""What a request body may be, and what is refused by name."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.errors import InvalidRequest
from dataplane.server.schemas import ChatRequest, CompletionRequest, parse_request

MESSAGES = [{"role": "user", "content": "hi"}]


def chat(**fields: object) -> ChatRequest:
    return parse_request(ChatRequest, json.dumps({"model": "assistant", "messages": MESSAGES, **fields}).encode())


def refusal(cls: type, body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(cls, body)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperatur": 1}, "temperatur"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"seed": 2**70}, "seed"),
        ({"stop": [""]}, "stop[0]"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": 3}, "stop"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"tools": []}, "tools"),
        ({"speculation": {"mode": "turbo"}}, "speculation.mode"),
        ({"speculation": {"max_lookahead": -1}}, "speculation.max_lookahead"),
        ({"speculation": {"lookahead": 1}}, "speculation.lookahead"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "weight": 1}]}, "messages[0].weight"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
    ],
)
def test_a_wrong_field_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    body = json.dumps({"model": "assistant", "messages": MESSAGES, **fields}).encode()
    error = refusal(ChatRequest, body)
    assert (error.status, error.type, error.param) == (400, "invalid_request_error", param)
    assert error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"model": NaN}',
        b'{"model": Infinity}',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(body: bytes) -> None:
    assert refusal(ChatRequest, body).code == "invalid_json"


def test_nulls_mean_defaults() -> None:
    fields = ["temperature", "top_p", "max_tokens", "stop", "n", "stream", "seed", "logit_bias", "tools", "user"]
    request = chat(**dict.fromkeys(fields))
    assert request.num_choices == 1
    assert request.stop == ()
    assert request.sampling(100).temperature == 1.0


def test_text_parts_are_joined_and_a_response_message_can_be_sent_back() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    answer = {"role": "assistant", "content": "c", "refusal": None, "tool_calls": None}
    request = chat(messages=[{"role": "developer", "content": parts}, answer])
    assert [message.to_template() for message in request.messages] == [
        {"role": "system", "content": "ab"},
        {"role": "assistant", "content": "c"},
    ]


@pytest.mark.parametrize(("asked", "used"), [(5e-324, 0.0), (1e-46, 0.0), (9e-6, 0.0), (1e-5, 1e-5), (0.7, 0.7)])
def test_a_temperature_of_next_to_nothing_is_greedy(asked: float, used: float) -> None:
    assert chat(temperature=asked).sampling(300).temperature == used


def test_a_seed_is_kept_and_its_absence_is_a_fresh_one() -> None:
    assert chat(seed=7).sampling(10).seed == 7
    assert 0 <= chat(seed=-1).sampling(10).seed < 2**63
    assert chat().sampling(10).seed != chat().sampling(10).seed


def test_logit_bias_names_token_ids_of_the_vocabulary() -> None:
    assert chat(logit_bias={"5": -100}).sampling(10).logit_bias == {5: -100.0}
    for key in ("10", "-1", "x", "9" * 5000, "٣"):
        with pytest.raises(InvalidRequest):
            chat(logit_bias={key: 1}).sampling(10)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3)))],
)
def test_the_four_forms_of_a_prompt(prompt: object, expected: object) -> None:
    request = parse_request(CompletionRequest, json.dumps({"model": "m", "prompt": prompt}).encode())
    assert request.prompts == expected
    assert request.max_output_tokens == 16


@pytest.mark.parametrize("prompt", [[], [[]], [1, "a"], [[1, "a"]], {}, 3, None, [True]])
def test_any_other_prompt_is_refused(prompt: object) -> None:
    error = refusal(CompletionRequest, json.dumps({"model": "m", "prompt": prompt}).encode())
    assert error.param == "prompt"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_anything_else(body: bytes) -> None:
    refusal(ChatRequest, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(ChatRequest.model_fields)), json_values)
def test_an_arbitrary_value_in_any_field_is_accepted_or_refused_by_name(field: str, value: object) -> None:
    body = json.dumps({"model": "assistant", "messages": MESSAGES, field: value}).encode()
    refused: InvalidRequest | None = None
    try:
        parse_request(ChatRequest, body).sampling(100)
    except InvalidRequest as error:
        refused = error
    assert refused is None or refused.code == "invalid_json" or (refused.param or "").startswith(field)
