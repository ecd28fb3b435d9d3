"""One run at a time has a replica, and a run that is gone has none."""

import dataclasses
import subprocess
import sys

import pytest

from rollouts.server_claim import EXPIRES_S, Claim, ClaimBook, own_claim


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def elsewhere(run):
    """A claim from another machine, whose processes nobody here sees."""
    return Claim(run, f"`{run}` (process 1 on far)", "another place", 1, "0")


def test_a_claim_travels_as_a_header():
    claim = dataclasses.replace(own_claim("r"), holder="`grüße` (process 1)")
    assert claim.to_header().isascii()
    assert Claim.from_header(claim.to_header()) == claim
    for text in ("x", "[]", '{"run": "r"}'):
        with pytest.raises(ValueError):
            Claim.from_header(text)


def test_one_run_has_it_until_it_lets_go(clock):
    book = ClaimBook(clock)
    assert book.refusal(own_claim("a")) == ""
    clock.now = 3
    assert book.refusal(elsewhere("b")).startswith("it is held by another run: `")
    assert book.refusal(elsewhere("b")).endswith("heard 3 s ago")
    assert book.refusal(own_claim("a")) == ""
    assert book.refusal(elsewhere("b")).endswith("heard 0 s ago")
    book.let_go("a")
    assert book.refusal(own_claim("a")) == "this run has let go of it"
    assert book.refusal(elsewhere("b")) == ""


def test_letting_go_of_what_another_run_has_changes_nothing(clock):
    book = ClaimBook(clock)
    book.refusal(elsewhere("a"))
    book.let_go("b")
    assert "`a`" in book.refusal(elsewhere("c"))


def test_a_run_of_another_machine_is_forgotten_when_it_is_not_heard(clock):
    book = ClaimBook(clock)
    book.refusal(elsewhere("a"))
    clock.now = EXPIRES_S
    assert "`a`" in book.refusal(elsewhere("b"))
    clock.now += 1
    assert book.refusal(elsewhere("b")) == ""
    assert "`b`" in book.refusal(elsewhere("a"))


def test_a_run_whose_request_is_being_answered_is_not_forgotten(clock):
    book = ClaimBook(clock)
    book.refusal(elsewhere("a"))
    with book.running(elsewhere("a")):
        clock.now = 10 * EXPIRES_S
        assert "`a`" in book.refusal(elsewhere("b"))
    assert "heard 0 s ago" in book.refusal(elsewhere("b"))


def test_a_run_of_this_machine_is_forgotten_at_once_when_its_process_is_gone(clock):
    code = "from rollouts.server_claim import own_claim\nprint(own_claim('a').to_header())\ninput()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    claim = Claim.from_header(child.stdout.readline())
    book = ClaimBook(clock)
    book.refusal(claim)
    clock.now = 10 * EXPIRES_S  # it sleeps, or is stopped: still there
    assert f"(process {child.pid} on " in book.refusal(own_claim("b"))
    child.kill()
    child.wait()
    assert book.refusal(own_claim("b")) == ""


def test_another_process_under_the_same_id_is_not_the_holder(clock):
    book = ClaimBook(clock)
    book.refusal(dataclasses.replace(own_claim("a"), started="1"))
    assert book.refusal(own_claim("b")) == ""
