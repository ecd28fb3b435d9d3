"""The reference's logprobs on disk: what is there is read, what is not right is made again."""

import logging

import pytest
import torch

from rl_avr.preference.reference_cache import ReferenceCache, digest_of

LENGTHS = [(3, 2), (1, 4), (2, 2), (5, 1), (2, 3)]
KEY = {"policy": "p", "pairs": "d", "template": "t", "precision": "float32"}


def logprobs(place):
    generator = torch.Generator().manual_seed(place)
    return tuple(torch.randn(n, generator=generator) for n in LENGTHS[place])


def filled(folder, key=KEY, lengths=LENGTHS):
    cache = ReferenceCache(folder, key, lengths, shard_pairs=2)
    cache.open()
    for shard in cache.missing():
        cache.write(shard, [logprobs(place) for place in cache.places(shard)])
    return cache


def files(folder):
    return sorted(folder.glob("*/*.safetensors"))


def test_what_was_written_is_read(tmp_path):
    filled(tmp_path)
    again = ReferenceCache(tmp_path, KEY, LENGTHS, shard_pairs=2)
    assert again.missing() == []
    for place, (chosen, rejected) in enumerate(again.read()):
        assert chosen.equal(logprobs(place)[0]) and rejected.equal(logprobs(place)[1])


def test_after_a_stop_only_what_is_missing_is_made(tmp_path):
    filled(tmp_path)
    files(tmp_path)[1].unlink()
    (files(tmp_path)[0].parent / "00001.safetensors.partial").write_bytes(b"torn")
    assert ReferenceCache(tmp_path, KEY, LENGTHS, shard_pairs=2).missing() == [1]


def test_a_torn_a_damaged_and_a_foreign_shard_are_made_again_with_a_word(tmp_path, caplog):
    cache = filled(tmp_path)
    torn, damaged, foreign = files(tmp_path)
    torn.write_bytes(torn.read_bytes()[:-3])
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(bytes(raw))
    filled(tmp_path / "other", {**KEY, "policy": "another"})
    foreign.write_bytes(files(tmp_path / "other")[2].read_bytes())
    with caplog.at_level(logging.WARNING):
        assert cache.missing() == [0, 1, 2]
    said = "\n".join(record.getMessage() for record in caplog.records)
    for word in ("torn", "damaged: its hash is another", "belongs to another policy"):
        assert word in said
    filled(tmp_path)
    assert cache.missing() == []


def test_a_shard_of_other_lengths_is_made_again(tmp_path, caplog):
    filled(tmp_path)
    lengths = [*LENGTHS[:4], (2, 4)]
    assert ReferenceCache(tmp_path, KEY, lengths, shard_pairs=2).missing() == [2]
    assert "expected 6 logprobs, got 5" in caplog.text


@pytest.mark.parametrize("name", KEY)
def test_those_of_another_key_are_never_read_and_it_is_said_which(tmp_path, caplog, name):
    filled(tmp_path)
    other = ReferenceCache(tmp_path, {**KEY, name: "other"}, LENGTHS, shard_pairs=2)
    assert other.missing() == [0, 1, 2]
    other.open()
    assert f"are of another {name}" in caplog.text
    assert ReferenceCache(tmp_path, KEY, LENGTHS, shard_pairs=2).missing() == []


def test_a_digest_tells_the_borders_of_texts():
    assert digest_of("ab", "c") != digest_of("a", "bc") != digest_of("abc")
