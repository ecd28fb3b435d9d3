"""The places where methods plug into GRPO, through the real trainer on a tiny policy."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import set_seed

from rewards.config import RewardConfig
from rl_avr.algo.advantage_transform import Outcomes, stcr_factors
from rl_avr.algo.kl_schedule import grpo_d
from rl_avr.algo.prompt_sampler import UniformSampler
from rl_avr.contracts import CHOICE_LETTERS
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError, DataError
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.training.config import (
    ADVANTAGE_TRANSFORM_NAMES,
    KL_SCHEDULE_NAMES,
    PROMPT_SAMPLER_NAMES,
    KlConfig,
    MethodsConfig,
    RunConfig,
    SamplerConfig,
    TransformConfig,
)
from rl_avr.training.grpo import grpo_arguments
from rl_avr.training.grpo_trainer import AvrGrpoTrainer
from rl_avr.training.methods import (
    ADVANTAGE_TRANSFORMS,
    KL_SCHEDULES,
    PROMPT_SAMPLERS,
    category_of,
    check_methods,
    make_schedule,
    outcomes_of,
)
from rollouts.config import DynamicConfig, RolloutConfig
from tests.training.scripted_trainer import prompts_of_different_lengths, scripted_trainer

GROUP = 4
NEUTRAL = MethodsConfig()
SEC = MethodsConfig(sampler=SamplerConfig("sec", category=("num_rules", "difficulty")))
SAVING = {"save_strategy": "steps", "save_steps": 1}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    return prompts_of_different_lengths(tmp_path_factory.mktemp("data"), 6)


def script(prompt, index):
    """Two right chains, a wrong one of their length, and a wrong one that is much longer."""
    right = gold_chain(prompt.puzzle)
    letter = CHOICE_LETTERS[(prompt.puzzle.answer_index + 1) % 8]
    wrong = right.rpartition(" ")[0] + f" {letter}"
    first, last = wrong.rsplit("\n", 1)
    padded = "\n".join([first, *["A: yes"] * 20, last])
    return (right, right, wrong, padded)[index]


@pytest.fixture
def make(tiny_folder, processor, prompts, tmp_path):
    def made(methods=NEUTRAL, folder="run", cls=AvrGrpoTrainer, rewards=None, **block):
        block = {"max_steps": 4, "beta": 0.05, "disable_tqdm": True, **block}
        return scripted_trainer(
            tmp_path / folder,
            tiny_folder,
            processor,
            prompts,
            script,
            GROUP,
            block,
            rewards=rewards,
            cls=cls,
            methods=methods,
        )

    return made


def trained(trainer, **arguments):
    # the order of groups in a batch hangs on torch's own numbers
    set_seed(0)
    with trainer.collector:
        trainer.train(**arguments)
    return {name: value.detach() for name, value in trainer.model.named_parameters()}


def are_equal(left, right):
    return all(torch.equal(value, right[name]) for name, value in left.items())


def sampled(path):
    return [json.loads(line)["prompt_id"] for line in path.open()]


class TrlsRows(AvrGrpoTrainer):
    """Trains on the rows of trl's own data loader, and knows no method."""

    def _prepare_inputs(self, generation_batch):
        self.trls_ids = [row["prompt_id"] for row in generation_batch]
        return super()._prepare_inputs(generation_batch)

    def _generate_and_score_completions(self, inputs):
        places = [self._row_index[name] for name in self.trls_ids]
        self._kl_schedule = lambda _: self.args.beta
        self._transform = lambda advantages, _: advantages
        return super()._generate_and_score_completions([self.train_dataset[i] for i in places])


def test_neutral_methods_give_the_plain_run_bit_for_bit(make, tmp_path):
    """Over three passes of the data, blocks of two parts, each trained twice."""
    block = {"gradient_accumulation_steps": 2, "num_iterations": 2, "max_steps": 9}
    block["per_device_train_batch_size"] = GROUP
    flat = MethodsConfig(
        KlConfig("grpo_d", b_min=0.05, b_max=0.05), TransformConfig("stcr", half_length=1e30)
    )
    plain = trained(make(folder="plain", cls=TrlsRows, **block))
    neutral = trained(make(NEUTRAL, "neutral", **block))
    assert are_equal(plain, neutral)
    assert are_equal(plain, trained(make(flat, "flat", **block)))
    orders = [sampled(tmp_path / run / "rollouts/rank0.jsonl") for run in ("plain", "neutral")]
    assert orders[0] == orders[1]
    assert len(orders[0]) == 10 and len(set(orders[0][:6])) == 6
    strong = MethodsConfig(advantages=TransformConfig("stcr", half_length=5))
    assert not are_equal(plain, trained(make(strong, "strong", **block)))


class WatchedBeta(AvrGrpoTrainer):
    """Keeps (step, beta, whether there are reference logprobs) of every loss."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.seen = []

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        has_reference = "ref_per_token_logps" in inputs
        self.seen.append((self.state.global_step, self.beta, has_reference))
        return loss


def test_beta_changes_at_the_boundary_of_a_generation_alone_and_may_be_0(make):
    """A block of four steps; the third block is generated at the turn, where beta is 0."""
    methods = MethodsConfig(KlConfig("grpo_d", b_min=0.0, b_max=0.02, turn=0.5))
    trainer = make(
        methods,
        cls=WatchedBeta,
        per_device_train_batch_size=GROUP,
        steps_per_generation=2,
        num_iterations=2,
        max_steps=16,
    )
    trained(trainer)
    schedule = grpo_d(0.0, 0.02, 0.5)
    expected = [(k, schedule(k // 4 * 4 / 16), k // 4 != 2) for k in range(16)]
    assert trainer.seen == expected
    assert [beta for _, beta, _ in expected[::4]] == pytest.approx([0.01, 0.005, 0.0, 0.01])


def test_the_weight_of_a_block_outlives_a_checkpoint_within_it(make, tmp_path):
    methods = MethodsConfig(KlConfig("grpo_d", b_min=0.0, b_max=0.02, turn=0.5))
    block = {"num_iterations": 2, "cls": WatchedBeta, **SAVING}
    whole, first = make(methods, "whole", **block), make(methods, "cut", **block)
    weights = trained(whole)
    trained(first)
    second = make(methods, "cut", **block)
    checkpoint = tmp_path / "cut/checkpoints/checkpoint-3"
    assert are_equal(weights, trained(second, resume_from_checkpoint=str(checkpoint)))
    # the second block is generated half-way, at the turn
    assert second.seen == whole.seen[3:] == [(3, 0.0, False)]


def step(trainer, prompts):
    places = [trainer._row_index[p.prompt_id] for p in prompts for _ in range(GROUP)]
    trainer.model.train()
    with trainer.collector:
        return trainer._generate_and_score_completions([trainer.train_dataset[i] for i in places])


def test_advantages_are_transformed_after_they_were_weighted_by_difficulty(make, prompts):
    rewards = RewardConfig(difficulty_slope=0.5)
    stcr = MethodsConfig(advantages=TransformConfig("stcr", half_length=40))
    plain, ours = (make(m, rewards=rewards) for m in (NEUTRAL, stcr))
    before, after = (step(trainer, prompts[:2])["advantages"] for trainer in (plain, ours))
    lengths = torch.tensor(
        [[len(c.token_ids) for c in g.group.completions] for g in ours._groups]
    ).float()
    extra = lengths[:, 3] - lengths[:, :2].mean(1)
    assert (extra > 20).all()
    factors = torch.ones(2, GROUP)
    factors[:, 3] = 2 - 2 ** (-extra / 40)
    assert torch.allclose(after, before * factors.view(-1), rtol=1e-6)
    assert (after.view(2, GROUP)[:, 3] < before.view(2, GROUP)[:, 3]).all()
    outcomes = outcomes_of(ours._groups)
    assert outcomes.outcomes_B.tolist() == [1, 1, 0, 0] * 2
    assert torch.allclose(stcr_factors(outcomes, 40), factors.view(-1), rtol=1e-6)


class Recorder(UniformSampler):
    """A user's own sampler that keeps what it was asked and told."""

    def __init__(self, config, pool):
        super().__init__(len(pool.puzzles), pool.seed, pool.is_shuffled)
        self.events = []

    def draw(self, num_prompts):
        batch = super().draw(num_prompts)
        self.events.append(("draw", batch))
        return batch

    def update(self, indices, mean_abs_advantages):
        self.events.append(("update", list(indices)))
        self.learned = list(mean_abs_advantages)


OWN = MethodsConfig(sampler=SamplerConfig("tests.training.test_methods:Recorder"))


def test_a_batch_is_drawn_after_the_one_before_was_learned_from(make, prompts, tmp_path):
    """The data loader, which reads ahead, has no say in it; one is drawn for each generation."""
    trainer = make(OWN, num_iterations=2)
    trained(trainer)
    events = trainer._order.sampler.events
    assert [name for name, _ in events] == ["draw", "update"] * 2
    assert events[0][1] == events[1][1] != events[2][1] == events[3][1]
    drawn = [prompts[i].prompt_id for name, batch in events for i in batch if name == "draw"]
    assert sampled(tmp_path / "run/rollouts/rank0.jsonl") == drawn


def test_a_sampler_learns_from_advantages_before_any_weight(make, prompts):
    weighted = MethodsConfig(advantages=TransformConfig("stcr", half_length=5), sampler=OWN.sampler)
    plain = make(OWN)
    other = make(weighted, rewards=RewardConfig(difficulty_slope=0.5))
    advantages = step(plain, prompts[:2])["advantages"].view(2, GROUP)
    step(other, prompts[:2])
    assert plain._order.sampler.learned == advantages.abs().mean(1).tolist()
    assert other._order.sampler.learned == plain._order.sampler.learned
    assert min(plain._order.sampler.learned) > 0.5


def test_a_resumed_bandit_draws_and_learns_as_the_whole_run_does(make, tmp_path):
    whole, first = make(SEC, "whole", **SAVING), make(SEC, "cut", **SAVING)
    weights = trained(whole)
    trained(first)
    second = make(SEC, "cut", **SAVING)
    checkpoint = tmp_path / "cut/checkpoints/checkpoint-2"
    assert are_equal(weights, trained(second, resume_from_checkpoint=str(checkpoint)))
    left, right = (sampled(tmp_path / run / "rollouts/rank0.jsonl") for run in ("whole", "cut"))
    assert left == right and len(left) == 8
    assert second._order.sampler.state_dict() == whole._order.sampler.state_dict()
    assert whole._order.sampler.state_dict()["num_draws"] == 4
    assert max(whole._order.sampler.values.values()) > 0.3


def test_the_bandits_probabilities_are_logged_as_they_were_at_the_draw(make):
    """Two draws in a run of four steps."""
    trainer = make(SEC, num_iterations=2, logging_steps=1)
    categories = list(trainer._order.sampler.values)
    at_draws, draw = [], trainer._order.draw

    def watched():
        at_draws.append(
            {f"sampler/{k}": v for k, v in trainer._order.sampler.probabilities().items()}
        )
        return draw()

    trainer._order.draw = watched
    trained(trainer)
    logged = [
        {name: value for name, value in row.items() if name.startswith("sampler/")}
        for row in trainer.state.log_history
        if "reward" in row or "loss" in row
    ]
    assert logged == [at_draws[0], {}, at_draws[1], {}]
    assert set(at_draws[0].values()) == {1 / len(categories)}
    assert max(at_draws[1].values()) > 1 / len(categories)
    assert sum(at_draws[1].values()) == pytest.approx(1)


def test_a_run_resumed_in_its_second_pass_keeps_the_order_of_that_pass(make, tmp_path):
    """Six prompts, two a step: the checkpoint lies in the second pass, whose order is another."""
    block = {**SAVING, "max_steps": 6}
    whole, first = make(NEUTRAL, "whole", **block), make(NEUTRAL, "cut", **block)
    trained(whole)
    trained(first)
    checkpoint = tmp_path / "cut/checkpoints/checkpoint-4"
    second = make(NEUTRAL, "cut", **block)
    trained(second, resume_from_checkpoint=str(checkpoint))
    left, right = (sampled(tmp_path / run / "rollouts/rank0.jsonl") for run in ("whole", "cut"))
    assert left == right and len(left) == 12
    assert left[:6] != left[6:] and sorted(left[:6]) == sorted(left[6:])


def test_a_state_of_another_sampler_is_named_and_a_missing_one_warned_of(make, tmp_path, caplog):
    trainer = make(SEC)
    trainer._order.load(tmp_path)
    assert "prompt_order.json is missing" in caplog.text
    make(NEUTRAL)._order.save(tmp_path)
    with pytest.raises(DataError, match=r"prompt_order.json: expected the state.*another run.dir"):
        trainer._order.load(tmp_path)
    (tmp_path / "prompt_order.json").write_text("[]")
    with pytest.raises(DataError, match="prompt_order.json"):
        trainer._order.load(tmp_path)


def arguments(**block):
    block = {"use_cpu": True, "bf16": False, "num_generations": 8, **block}
    return grpo_arguments(RunConfig(), RolloutConfig(), RewardConfig(), block)


def test_a_schedule_without_a_reference_policy_is_refused():
    methods = MethodsConfig(KlConfig("grpo_d"))
    check_methods(NEUTRAL, arguments(beta=0.0), DynamicConfig())
    check_methods(methods, arguments(beta=0.04), DynamicConfig())
    with pytest.raises(ConfigError, match="trainer.beta 0.*expected a number above 0"):
        check_methods(methods, arguments(beta=0.0), DynamicConfig())
    with pytest.raises(ConfigError, match="use_liger_kernel true.*expected false"):
        check_methods(methods, SimpleNamespace(beta=0.1, use_liger_kernel=True), DynamicConfig())


def test_a_bandit_beside_dynamic_sampling_is_refused():
    dynamic = DynamicConfig(is_on=True)
    check_methods(NEUTRAL, arguments(), dynamic)
    with pytest.raises(ConfigError, match="dynamic.is_on true.*expected one of the two"):
        check_methods(SEC, arguments(), dynamic)


def test_every_name_of_the_config_has_its_method_and_the_first_is_neutral():
    assert tuple(KL_SCHEDULES) == KL_SCHEDULE_NAMES
    assert tuple(ADVANTAGE_TRANSFORMS) == ADVANTAGE_TRANSFORM_NAMES
    assert tuple(PROMPT_SAMPLERS) == PROMPT_SAMPLER_NAMES
    assert NEUTRAL.kl.schedule == KL_SCHEDULE_NAMES[0]
    assert NEUTRAL.advantages.transform == ADVANTAGE_TRANSFORM_NAMES[0]
    assert NEUTRAL.sampler.name == PROMPT_SAMPLER_NAMES[0]


def ramp(config, beta):
    return lambda progress: beta * progress


NOT_CALLABLE = 3


def test_a_method_of_the_user_s_own_is_made_as_the_others_are():
    own = make_schedule(KlConfig("tests.training.test_methods:ramp"), 0.1)
    assert own(0.5) == 0.05
    for name, problem in (
        ("tests.training.test_methods:rammp", "importing it failed.*rammp"),
        ("no_such_package.at_all:x", "importing it failed.*no_such_package"),
        ("tests.training.test_methods:NOT_CALLABLE", "expected something that makes.*got int"),
    ):
        with pytest.raises(ConfigError, match=f"methods.kl.schedule '{name}'.*{problem}"):
            make_schedule(KlConfig(name), 0.1)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: KlConfig("grpo-d"), "schedule: expected one of constant, grpo_d.*nearest.*grpo_d"),
        (lambda: KlConfig(":x"), "schedule: expected one of"),
        (lambda: KlConfig(b_min=0.2, b_max=0.1), "b_max: expected a number >= 0.2"),
        (lambda: KlConfig(turn=1.0), r"turn: expected a number in \(0, 1\)"),
        (lambda: TransformConfig(half_length=0), "half_length: expected a number > 0"),
        (lambda: SamplerConfig(alpha=0), r"alpha: expected a number in \(0, 1\]"),
        (lambda: SamplerConfig(temperature=0), "temperature: expected a number > 0"),
        (lambda: SamplerConfig(category=()), "category: expected at least one"),
    ],
)
def test_settings_out_of_range_are_refused(made, message):
    with pytest.raises(ConfigError, match=message):
        made()


def test_categories_by_every_key(puzzle, grid):
    assert category_of(puzzle, ("configuration", "difficulty")) == "center_single 2"
    assert category_of(grid, ("kind", "num_rules")) == "distribute_four 1"


def test_a_bandit_over_one_category_is_refused():
    puzzle = sample_puzzle("train", 0, 0, PuzzleConfig())
    pool = SimpleNamespace(puzzles=(puzzle, puzzle), seed=0)
    expected = re.escape("methods.sampler.category kind: every puzzle is in 'center_single'")
    with pytest.raises(ConfigError, match=expected):
        PROMPT_SAMPLERS["sec"](SamplerConfig("sec", category=("kind",)), pool)


def test_outcomes_tell_what_cannot_be_judged(make, prompts):
    trainer = make()
    step(trainer, prompts[:1])
    (group,) = trainer._groups
    unjudged = replace(group, scores=(replace(group.scores[0], outcome=None), *group.scores[1:]))
    found = outcomes_of([unjudged])
    assert isinstance(found, Outcomes) and found.num_generations == GROUP
    assert found.outcomes_B.isnan().tolist() == [True, False, False, False]
