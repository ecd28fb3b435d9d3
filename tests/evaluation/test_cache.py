"""The cache over an engine that counts what it is asked."""

from dataclasses import replace

import pytest

from rl_avr.contracts import Prompt
from rl_avr.errors import DataError
from rl_avr.evaluation.cache import CachedEngine
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzles
from rollouts.config import SamplingConfig
from rollouts.engine import Sampling
from rollouts.scripted import ScriptedEngine

PUZZLE = next(iter(sample_puzzles("held_out", 1, 5, PuzzleConfig())))
PROMPTS = [Prompt(f"p{i}", PUZZLE, "cot", "say", (b"image",)) for i in range(3)]
SAMPLING = Sampling(SamplingConfig(max_new_tokens=60), 2, 7)


class Counting(ScriptedEngine):
    """Says the prompt's id and the seed of the call; keeps what it was asked."""

    def __init__(self):
        super().__init__(lambda prompt, index: f"{prompt.prompt_id} {index} {self.seed}")
        self.seed = 0
        self.asked = []

    def generate(self, prompts, sampling):
        self.seed = sampling.seed
        self.asked.append(([p.prompt_id for p in prompts], sampling.num_generations))
        return super().generate(prompts, sampling)


@pytest.fixture
def ask(tmp_path):
    """Asks through a cache opened anew; returns texts by prompt and what the engine was asked."""

    def go(prompts=tuple(PROMPTS), sampling=SAMPLING, policy="a"):
        made = []

        def make():
            made.append(Counting())
            return made[-1]

        with CachedEngine(make, tmp_path / "folder" / "cache.sqlite", policy) as engine:
            groups = engine.generate(prompts, sampling)
        chains = [group.completions for group in groups]
        assert [group.prompt for group in groups] == list(prompts)
        return chains, [one for engine in made for one in engine.asked]

    return go


def plain(chains):
    return [[(c.text, len(c.token_ids), c.finish_reason) for c in group] for group in chains]


def test_what_is_kept_is_not_asked_again_nor_the_engine_made(ask):
    first, asked = ask()
    assert asked == [(["p0", "p1", "p2"], 2)]
    assert plain(first)[0][0] == ("p0 0 7", 6, "stop")
    second, asked = ask()
    assert asked == []
    assert plain(second) == plain(first)
    fewer, asked = ask(sampling=replace(SAMPLING, num_generations=1))
    assert asked == []
    assert plain(fewer) == [group[:1] for group in plain(first)]


def test_more_samples_are_added_under_another_seed(ask):
    first, _ = ask(PROMPTS[:2])
    more, asked = ask(sampling=replace(SAMPLING, num_generations=5))
    assert asked == [(["p0", "p1"], 3), (["p2"], 5)]
    assert [group[:2] for group in plain(more)[:2]] == plain(first)
    seeds = [[text.split()[2] for text, _, _ in group] for group in plain(more)]
    assert seeds[0] == seeds[1] and seeds[0][:2] == ["7", "7"] and "7" not in seeds[0][2:]
    assert seeds[2] == ["7"] * 5
    assert [len(group) for group in more] == [5, 5, 5]
    assert ask(sampling=replace(SAMPLING, num_generations=5))[1] == []


@pytest.mark.parametrize(
    "change",
    [
        {"policy": "b"},
        {"sampling": replace(SAMPLING, seed=8)},
        {"sampling": replace(SAMPLING, config=SamplingConfig(max_new_tokens=7))},
        {"prompts": [replace(one, text="say it") for one in PROMPTS]},
        {"prompts": [replace(one, prefill="well") for one in PROMPTS]},
        {"prompts": [replace(one, images=(b"imagf",)) for one in PROMPTS]},
        {"prompts": [replace(one, images=(b"ima", b"ge")) for one in PROMPTS]},
    ],
)
def test_anything_else_is_asked(ask, change):
    ask()
    _, asked = ask(**change)
    assert asked == [(["p0", "p1", "p2"], 2)]


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "cache").write_text("a poem, and a long one at that\n" * 50)
    with pytest.raises(DataError, match="eval.cache .*cache: expected a cache"):
        CachedEngine(Counting, tmp_path / "cache", "a")
