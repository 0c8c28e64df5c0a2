"""The tenants' traffic: distinct, reproducible, and held-out requests share no value with what was learned from."""

from __future__ import annotations

import itertools

import pytest

from infra.demo.workloads import TENANTS, Tenant, requests


@pytest.mark.parametrize("tenant", TENANTS, ids=lambda tenant: tenant.name)
def test_each_tenant_has_hundreds_of_distinct_requests_and_no_held_out_one_among_them(tenant: Tenant) -> None:
    learn, heldout = requests(tenant, "learn", 300), requests(tenant, "heldout", 60)
    assert len({messages[-1]["content"] for messages in learn}) == 300
    assert len({messages[-1]["content"] for messages in heldout}) == 60
    assert not {str(messages) for messages in learn} & {str(messages) for messages in heldout}
    assert learn == requests(tenant, "learn", 300)
    assert learn[:50] == requests(tenant, "learn", 50), "traffic has an order"
    assert learn != requests(tenant, "learn", 300, seed=1)


@pytest.mark.parametrize("tenant", TENANTS, ids=lambda tenant: tenant.name)
def test_held_out_values_are_values_that_were_never_sent(tenant: Tenant) -> None:
    for learn, heldout in tenant.slots.values():
        assert learn
        assert heldout
        assert not set(learn) & set(heldout)
    examples = " ".join(itertools.chain.from_iterable(tenant.examples))
    assert not [value for _, heldout in tenant.slots.values() for value in heldout if f" {value} " in f" {examples} "]


def test_a_request_carries_the_system_prompt_the_examples_and_the_users_text() -> None:
    messages = requests(TENANTS[0], "learn", 1)[0]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "$" not in messages[-1]["content"]


def test_too_many_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        requests(TENANTS[1], "heldout", 500)
