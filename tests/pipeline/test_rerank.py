"""Reranking a set: every puzzle once, in order, whatever happened on the way; and one picture."""

import json
from dataclasses import replace

import pytest

from rl_avr import cli
from rl_avr.errors import DataError, RolloutError
from rl_avr.evaluation.pools import Pool, read_pools
from rl_avr.inference.config import RerankConfig
from rl_avr.inference.reranker import Reranker
from rl_avr.modeling.config import PolicyConfig
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import make_data
from rl_avr.pipeline.rerank import rerank_picture, rerank_set
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.settings import RerankSettings, load_settings
from rl_avr.training.config import DataConfig, RunConfig
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.scripted import ScriptedEngine

NUM, CHAINS = 7, 5


class SeededEngine(ScriptedEngine):
    """Every third chain is right, by the prompt's seed; `fail_at` raises at that call."""

    def __init__(self, fail_at=-1):
        super().__init__(self._say)
        self._fail_at, self.asked = fail_at, []

    def generate(self, prompts, sampling):
        self.asked.append([prompt.prompt_id for prompt in prompts])
        if len(self.asked) - 1 == self._fail_at:
            raise RolloutError("the engine broke")
        self._sampling = sampling
        return super().generate(prompts, sampling)

    def _say(self, prompt, index):
        seed = self._sampling.prompt_seed(prompt, self.weights_version) + index
        letters = "ABCDEFGH"
        right = prompt.puzzle.answer_letter
        wrong = letters[(letters.index(right) + seed) % 8]
        return f"### Answer: {right if seed % 3 == 0 else wrong}" if seed % 11 else "图形 \ud800"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    puzzles = PuzzleConfig(num_train=1, num_held_out=NUM, render=RenderConfig(panel_size_px=36))
    make_data(MakeConfig(path=str(folder), num_workers=1), puzzles)
    return folder


@pytest.fixture
def settings(data, tmp_path):
    def made(folder="run", seed=0, resume=True, **changes):
        fields = {"num_chains": CHAINS, "method": "self_consistency", "batch_size": 3} | changes
        return RerankSettings(
            run=RunConfig(dir=str(tmp_path / folder), seed=seed, resume=resume),
            policy=PolicyConfig(path=str(tmp_path / "policy")),
            data=DataConfig(path=str(data), split="held_out"),
            rollouts=RolloutConfig(sampling=SamplingConfig(max_new_tokens=3000)),
            rerank=RerankConfig(**fields),
        )

    return made


def maker(engine=None):
    def make(settings):
        sampling = settings.rollouts.sampling
        seed = settings.run.seed
        return Reranker(engine or SeededEngine(), None, settings.rerank, sampling, seed)

    return make


def no_reranker(_):
    raise AssertionError("nothing is left to do")


def run(settings, engine=None):
    return rerank_set(settings, maker(engine)).read_bytes()


def test_a_line_holds_the_answer_and_every_graded_chain(settings, tmp_path, capsys):
    run(settings())
    pools = list(read_pools(tmp_path / "run"))
    assert len({pool.prompt_id for pool in pools}) == len(pools) == NUM
    for pool in pools:
        assert len(pool.answers) == len(pool.right) == len(pool.texts) == CHAINS
        assert pool.answers[pool.winner_index] == pool.answer
        assert pool.is_right == pool.right[pool.winner_index]
        votes = pool.answers.count(pool.answer) / sum(a is not None for a in pool.answers)
        assert pool.distribution[pool.answer] == pytest.approx(votes)
        assert set(pool.scores) == {"agreement"}
        assert Pool.from_json(pool.to_json()) == pool
    right = sum(pool.is_right for pool in pools) / NUM
    alone = sum(sum(pool.right) for pool in pools) / NUM / CHAINS
    any_right = sum(any(pool.right) for pool in pools) / NUM
    assert 0 < alone < any_right
    said = f"right: answer {right:.1%}, a chain {alone:.1%}, any chain {any_right:.1%}"
    assert said in capsys.readouterr().out
    assert load_settings(RerankSettings, [tmp_path / "run/config.yaml"]) == settings()


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_lines_do_not_depend_on_the_batches(settings, batch_size):
    assert run(settings("other", batch_size=batch_size)) == run(settings())
    assert run(settings("seed", seed=1)) != run(settings())


@pytest.mark.parametrize("cut", [0, 7])
def test_a_stopped_run_goes_on_and_asks_nothing_twice(settings, tmp_path, cut):
    whole = run(settings("whole"))
    broken = SeededEngine(fail_at=1)
    with pytest.raises(RolloutError):
        run(settings(), broken)
    path = tmp_path / "run/reranked.jsonl"
    path.write_bytes(path.read_bytes()[: -cut or None])
    left = SeededEngine()
    assert run(settings(), left) == whole
    asked = [name for names in left.asked for name in names]
    assert len(asked) == NUM - 3 + (cut > 0)
    assert rerank_set(settings(), no_reranker).read_bytes() == whole


def test_other_answers_are_refused_and_replaced_where_asked(settings, tmp_path):
    run(settings())
    changed = "different: rerank.num_chains, rerank.method, rerank.scores"
    with pytest.raises(DataError, match=changed):
        run(settings(num_chains=3, method="best_of_n", scores={"agreement": 1.0}, reference=""))
    again = run(settings(num_chains=3, resume=False))
    assert all(len(json.loads(line)["answers"]) == 3 for line in again.splitlines())
    path = tmp_path / "run/reranked.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError, match="line 1: expected .*somebody else"):
        run(settings(num_chains=3))


def test_a_line_that_is_no_pool_is_named(tmp_path):
    (tmp_path / "reranked.jsonl").write_text('{"prompt_id": 1}\n')
    with pytest.raises(DataError, match=r"reranked\.jsonl, line 1: expected a puzzle's pool"):
        list(read_pools(tmp_path))
    with pytest.raises(DataError, match="expected what `rl-avr rerank` writes"):
        list(read_pools(tmp_path / "absent"))


def test_one_picture_is_answered_in_words(settings, tmp_path):
    from PIL import Image

    picture = tmp_path / "puzzle.png"
    Image.new("RGB", (8, 8)).save(picture)
    texts = ["### Answer: B", "### Answer: B", "### Answer: D", "no"]
    engine = ScriptedEngine(lambda prompt, i: texts[i] if prompt.text == "Which?" else "?")
    asked = settings(num_chains=4, image=str(picture), question="Which?")
    said = rerank_picture(asked, maker(engine))
    assert said.splitlines()[:2] == [
        "answer: B",
        "votes: B 66.7%, D 33.3% (self_consistency; 4 chains, 1 without an answer)",
    ]
    assert said.endswith("\n### Answer: B")
    silent = replace(asked, rerank=replace(asked.rerank, question=""))
    assert rerank_picture(silent, maker(engine)) == "no answer: 4 chains, 4 without an answer"
    assert not (tmp_path / "run").exists()


def test_the_command_line_names_what_is_wrong(tmp_path, capsys):
    words = ["rerank", "--model", str(tmp_path), "--image", "absent.png"]
    assert cli.main(words) == 2
    assert "rerank.reference is empty: weighted_softmax by sum needs" in capsys.readouterr().err
    assert cli.main([*words, "--method", "best"]) == 2
    assert "rerank.method" in capsys.readouterr().err
