"""The reranker on real policies: chains of the one that is named, scores by both."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from rl_avr.errors import ConfigError, DataError
from rl_avr.inference.config import RerankConfig
from rl_avr.inference.implicit_reward import load_pair
from rl_avr.inference.own_question import asked_prompt
from rl_avr.inference.reranker import Reranker
from rl_avr.modeling.adapters import export_merged
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzle
from rollouts.config import RolloutConfig, SamplingConfig
from tests.inference.pairs import save_adapters, save_policies

ROLLOUTS = RolloutConfig(
    engine="transformers", sampling=SamplingConfig(max_new_tokens=12), max_truncated_share=1.0
)
CONFIG = RerankConfig(num_chains=3, method="best_of_n", scores={"mean": 1.0})


@pytest.fixture(scope="module")
def folders(tiny_config, tmp_path_factory):
    """Two tiny policies; read them, never write to them."""
    return save_policies(tiny_config, tmp_path_factory.mktemp("pair"), (0, 1))


@pytest.fixture(scope="module")
def picture():
    puzzle = sample_puzzle("held_out", 0, 7, PuzzleConfig())
    return render_png(puzzle, RenderConfig(panel_size_px=36))


def texts(found):
    return [one.completion.text for one in found.candidates]


def test_scores_are_those_of_the_policy_and_its_reference(folders, picture):
    one, two = map(str, folders)
    with Reranker.load(one, two, config=CONFIG, rollouts=ROLLOUTS) as reranker:
        found = reranker.answer(picture)
        again = reranker.answer(picture)
    assert texts(found) == texts(again)
    assert found.num_prompt_tokens > 20
    chains = [c.completion.token_ids for c in found.candidates]
    rewards = load_pair(one, two).score(asked_prompt((picture,), COT_PROMPT), chains)
    means = [float(row[: len(ids)].mean()) for row, ids in zip(rewards.reward, chains, strict=True)]
    assert [c.scores["mean"] for c in found.candidates] == pytest.approx(means, abs=1e-6)
    assert min(map(abs, means)) > 0
    # at temperature 1 what was sampled is what is scored, but for the tokens that are never drawn
    for c, row in zip(found.candidates, rewards.policy, strict=True):
        drawn = torch.tensor(c.completion.sampling_logprobs)
        gaps = drawn - row[: len(drawn)]
        assert gaps.min() + 1e-5 >= 0 and gaps.max() < 0.2


def test_adapters_sample_as_their_merged_policy_does(folders, picture, tmp_path):
    base = str(folders[0])
    adapter = str(save_adapters(base, tmp_path / "adapter", seed=3))
    export_merged(base, adapter, tmp_path / "merged", "float32")
    with Reranker.load(str(tmp_path / "merged"), rollouts=ROLLOUTS) as merged:
        expected = texts(merged.answer(picture, n=3))
        assert merged.config.method == "self_consistency"
    with Reranker.load(base, rollouts=ROLLOUTS) as plain:
        assert texts(plain.answer(picture, n=3)) != expected
    with Reranker.load(adapter, base, config=CONFIG, rollouts=ROLLOUTS) as scored:
        found = scored.answer(picture)
        # the weights came by a sync, and chains hang on its number
        assert scored.engine.weights_version == 1
        assert min(abs(c.scores["sum"]) for c in found.candidates) > 0
    with Reranker.load(adapter, rollouts=ROLLOUTS) as alone:
        assert texts(alone.answer(picture, n=3)) == texts(found)


def test_the_reference_may_sample_and_the_policy_judge(folders, picture, tmp_path):
    one, two = map(str, folders)
    verifier = replace(CONFIG, sample_from="reference")
    with Reranker.load(two, rollouts=ROLLOUTS) as plain:
        expected = texts(plain.answer(picture, n=3))
    with Reranker.load(one, two, config=verifier, rollouts=ROLLOUTS) as reranker:
        found = reranker.answer(picture)
        with pytest.raises(ConfigError, match="the reference samples here"):
            reranker.answer(picture, sample_from="policy")
    assert texts(found) == expected
    chains = [c.completion.token_ids for c in found.candidates]
    rewards = load_pair(one, two).score(asked_prompt((picture,), COT_PROMPT), chains)
    assert [c.scores["sum"] for c in found.candidates] == pytest.approx(
        rewards.total.tolist(), abs=1e-5
    )
    # adapters as the reference: their base is the policy, and the engine gets them by a sync
    adapter = str(save_adapters(one, tmp_path / "adapter", seed=3))
    with Reranker.load(adapter, rollouts=ROLLOUTS) as plain:
        expected = texts(plain.answer(picture, n=3))
    with Reranker.load(one, adapter, config=verifier, rollouts=ROLLOUTS) as reranker:
        assert texts(reranker.answer(picture)) == expected


def test_what_cannot_be_reranked_is_refused(folders, picture):
    one, two = map(str, folders)
    with pytest.raises(ConfigError, match="same policy"):
        Reranker.load(one, one, config=CONFIG, rollouts=ROLLOUTS)
    with pytest.raises(ConfigError, match="rerank.reference is empty"):
        Reranker.load(one, config=CONFIG, rollouts=ROLLOUTS)
    with pytest.raises(ConfigError, match="sample_from reference: expected the policy"):
        verifier = RerankConfig(sample_from="reference", method="self_consistency")
        Reranker.load(one, config=verifier, rollouts=ROLLOUTS)
    with (
        Reranker.load(one, two, config=CONFIG, rollouts=ROLLOUTS) as reranker,
        pytest.raises(DataError, match="cannot take the prompt or its images.*aspect ratio"),
    ):
        reranker.answer(Image.new("RGB", (2000, 4)))
