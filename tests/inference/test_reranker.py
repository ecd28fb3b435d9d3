"""From sampled chains to one answer: votes, scores, early stops and bad input."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from rl_avr.contracts import Prompt
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError, DataError, PuzzleError, RolloutError
from rl_avr.inference.config import RerankConfig
from rl_avr.inference.own_question import answer_of, asked_prompt
from rl_avr.inference.reranker import Reranker
from rl_avr.prompts import COT_PROMPT, DIRECT_PROMPT, TAG_REQUEST
from rollouts.config import SamplingConfig

SAMPLING = SamplingConfig(max_new_tokens=4000)


def says(letter):
    return f"### Answer: {letter}"


@pytest.fixture
def picture():
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def make(counting_engine, rule_scorer):
    """Returns (letters or texts, reward of a token by text, changes of the config) -> reranker."""

    def made(texts, rule=lambda text: 0.0, **changes):
        engine = counting_engine([says(t) if len(t) == 1 else t for t in texts])
        config = RerankConfig(num_chains=len(texts), **changes)
        return Reranker(engine, rule_scorer(rule) if rule else None, config, SAMPLING)

    return made


def test_a_picture_a_question_and_n_give_answer_chain_score_and_distribution(make, picture):
    # tokens are characters, and all chains are as long
    rewards = {says("B"): 0.25, says("D"): 0.125}
    found = make(["D", "D", "B", "none"], rule=lambda text: rewards.get(text, 9.0)).answer(picture)
    assert (found.answer, found.chain) == ("B", says("B"))
    assert found.score == pytest.approx(0.25 * len(says("B")))
    assert found.winner_index == 2
    assert list(found.distribution) == ["D", "B"]
    assert sum(found.distribution.values()) == pytest.approx(1.0)
    assert [c.answer for c in found.candidates] == ["D", "D", "B", None]
    assert found.candidates[3].score == 0.0
    majority = make(["D", "D", "B", "none"], method="self_consistency").answer(picture, n=4)
    assert (majority.answer, majority.distribution["D"]) == ("D", pytest.approx(2 / 3))


def test_one_chain_is_enough_and_no_answer_is_never_guessed(make, picture):
    alone = make(["G"]).answer(picture, n=1)
    assert (alone.answer, dict(alone.distribution)) == ("G", {"G": 1.0})
    silent = make(["I think so", "### Answer: A\n### Answer: B", "### Answer: Z"])
    found = silent.answer(picture)
    assert (found.answer, found.chain, found.score, found.winner_index) == (None,) * 4
    assert dict(found.distribution) == {}
    assert len(found.candidates) == 3


def test_a_chain_that_was_cut_does_not_vote(make, picture):
    cut = make(["A", "A", "B"], method="self_consistency")
    short = replace(SAMPLING, max_new_tokens=len(says("A")))
    prompt = asked_prompt((picture,), COT_PROMPT)
    assert cut.rerank([prompt], sampling=short)[0].answer == "A"
    longer = make([f"{says('A')}\n\n", f"{says('A')} ", "B"], method="self_consistency")
    assert longer.rerank([prompt], sampling=short)[0].answer == "B"


def test_scores_of_the_parts_of_a_chain_are_sums_over_their_tokens(make, picture, chain, puzzle):
    reranker = make([chain, "### Answer: C"], rule=lambda text: 0.5)
    prompt = Prompt("by-hand/cot", puzzle, "cot", COT_PROMPT, (picture,))
    whole, short = (c.scores for c in reranker.rerank([prompt])[0].candidates)
    context = "squaresquaresquarecirclecirclecirclehexagonhexagon" + "01212323" + "34711252"
    choices = "circle" + "hexagon3" + "hexagon47"
    rules = "constant" + "progression +1" + "arithmetic +" + 2 * "hexagon47"
    verdicts = "no" + "yesno" + "yesyesyes"
    assert whole["perception"] == 0.5 * len(context + choices)
    assert whole["rules"] == 0.5 * len(rules)
    assert (whole["choices"], whole["answer"]) == (0.5 * len(verdicts), 0.5 * 13)
    assert (whole["sum"], whole["mean"], whole["logprob"]) == (0.5 * len(chain), 0.5, 0.5)
    assert (whole["agreement"], short["agreement"]) == (1.0, 0.0)
    assert (short["perception"], short["rules"], short["answer"]) == (0.0, 0.0, 0.5 * 13)


def test_a_long_chain_wins_by_its_sum_and_not_by_its_mean(make, picture):
    texts = [f"so\n{says('A')}", says("B")]
    rules = {texts[0]: 0.20, texts[1]: 0.22}
    by_sum = make(texts, rule=rules.get, method="best_of_n")
    by_mean = make(texts, rule=rules.get, method="best_of_n", scores={"mean": 1.0})
    assert (by_sum.answer(picture).answer, by_mean.answer(picture).answer) == ("A", "B")


def test_agreement_needs_no_reference_and_rewards_do(make, picture, chain):
    wrong = chain.replace("### Answer: C", "### Answer: F")
    own = make([wrong, wrong, chain], rule=None, method="best_of_n", scores={"agreement": 1.0})
    assert own.answer(picture).answer == "C"
    assert own.answer(picture, method="self_consistency").answer == "F"
    with pytest.raises(ConfigError, match="rerank.reference is empty: best_of_n by sum"):
        own.answer(picture, scores={"sum": 1.0})
    with pytest.raises(ConfigError, match="self_consistency or the score agreement"):
        make(["A"], rule=None)


def test_a_mixture_is_of_normalised_scores(make, picture, chain):
    wrong = chain.replace("### Answer: C", "### Answer: F")
    rewards = {wrong: 0.3, chain: 0.2}
    mixed = make([wrong, chain, wrong, chain], rule=rewards.get, method="best_of_n")
    assert mixed.answer(picture).answer == "F"
    assert mixed.answer(picture, scores={"sum": 1.0, "agreement": 2.0}).answer == "C"
    assert mixed.answer(picture, scores={"sum": 2.0, "agreement": 1.0}).answer == "F"


def test_the_exact_stop_saves_chains_and_not_the_answer(make, picture):
    letters = ["A", "A", "A", "B", "A", "A", "B", "B", "B", "B"]
    stops = {"method": "self_consistency", "stop": "exact", "round_size": 1}
    found = make(letters, **stops).answer(picture)
    # after 6 chains 5 to 1, and 4 are left: tied at best; after 7, 5 to 2 with 3 left
    assert (found.answer, len(found.candidates)) == ("A", 10)
    sure = make(["A"] * 10, **stops).answer(picture)
    assert (sure.answer, len(sure.candidates)) == ("A", 6)


def test_the_bayesian_stop_asks_each_prompt_until_it_is_safe(make, picture):
    config = {"method": "self_consistency", "stop": "bayes", "round_size": 2, "alpha": 0.05}
    easy, hard = make(["A"] * 16, **config), make(["A", "B"] * 8, **config)
    # P(p < 1/2) after n equal votes is 1 / 2^(n + 1): 1/8 after 2, 1/32 after 4
    assert len(easy.answer(picture).candidates) == 4
    assert len(hard.answer(picture).candidates) == 16
    assert easy.scorer.num_scored == 4
    engine = easy.engine
    assert len(set(engine.seeds)) == len(engine.seeds) == 2
    prompts = [asked_prompt((picture,), f"{COT_PROMPT} {i}") for i in range(2)]
    both = easy.rerank(prompts)
    assert [len(one.candidates) for one in both] == [4, 4]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "best_of_n", "stop": "bayes"},
        {"method": "weighted_softmax", "stop": "exact"},
        {"scores": {}},
        {"scores": {"total": 1.0}},
        {"scores": {"sum": float("nan")}},
        {"temperature": 0.0},
        {"num_chains": 0},
    ],
)
def test_a_config_that_cannot_work_is_refused(changes):
    with pytest.raises(ConfigError):
        RerankConfig(**changes)


def test_images_come_as_file_bytes_or_pillow_and_others_are_named(make, picture, tmp_path):
    file = tmp_path / "puzzle.png"
    file.write_bytes(picture)
    reranker = make(["A"])
    ids = {reranker.answer(one).prompt_id for one in (file, str(file), picture)}
    assert len(ids) == 1
    assert reranker.answer(Image.open(file)).answer == "A"
    assert reranker.answer([picture, file], "Which pair?").prompt_id not in ids
    (tmp_path / "broken.png").write_bytes(picture[:20])
    with pytest.raises(DataError, match=r"broken\.png: expected an image"):
        reranker.answer(tmp_path / "broken.png")
    with pytest.raises(DataError, match="absent.png: expected an image file"):
        reranker.answer("absent.png")


def test_an_image_that_the_policy_cannot_take_is_an_error_of_its_own(make, picture):
    class Picky(type(make(["A"]).engine)):
        def generate(self, prompts, sampling):
            raise ValueError("absolute aspect ratio must be smaller than 200")

    reranker = Reranker(Picky([]), None, RerankConfig(method="self_consistency"))
    with pytest.raises(DataError, match="the policy cannot take the prompt or its images: absol"):
        reranker.answer(picture)

    class Broken(type(make(["A"]).engine)):
        def generate(self, prompts, sampling):
            raise RolloutError("prompt too long")

    with pytest.raises(RolloutError, match="prompt too long"):
        Reranker(Broken([]), None, RerankConfig(method="self_consistency")).answer(picture)


def test_what_a_chain_votes_for(annotated, puzzle):
    open_question = annotated(choices=(), answer="two  red tiles")
    texts = ["### Answer: Two red Tiles", "### Answer: two  red tiles", "### Answer: ", "no"]
    found = [answer_of(read(text, open_question), open_question) for text in texts]
    assert found == ["two red tiles", "two red tiles", None, None]
    assert answer_of(read("### Answer: C", puzzle), puzzle) == "C"
    assert answer_of(read("### Answer: C", puzzle, "length"), puzzle) is None


def test_a_question_of_ones_own(make, picture, chain, grid_chain):
    tagged = make(["<think>\nso\n</think>\n<answer>B</answer>"], method="self_consistency")
    assert tagged.answer(picture, f"Which one? {TAG_REQUEST}").answer == "B"
    direct = make(["D\n", "B", "B\n### Answer: B"], method="self_consistency")
    assert direct.answer(picture, DIRECT_PROMPT, n=1).answer == "D"
    few = make(["E", "B"], method="self_consistency")
    assert few.answer(picture, "Which one?", num_choices=4).answer == "B"
    assert (
        make([says("blue"), says("Blue")]).answer(picture, "Color?", num_choices=0).answer == "blue"
    )
    grid = make([grid_chain])
    assert grid.answer(picture).candidates[0].scores["agreement"] == 0.0
    known = grid.answer(picture, configuration="distribute_four")
    assert known.candidates[0].scores["agreement"] == 1.0
    with pytest.raises(PuzzleError, match="configuration"):
        grid.answer(picture, configuration="distribute_5")


def test_the_engine_ends_with_the_reranker(make):
    with make(["A"]) as reranker:
        engine = reranker.engine
    assert engine.is_closed
