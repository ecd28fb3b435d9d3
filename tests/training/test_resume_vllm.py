"""A run with vLLM that is killed and resumed goes through the same puzzles."""

import json
from pathlib import Path

import pytest
from transformers import set_seed

from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_processor
from rl_avr.training.config import RunConfig
from rl_avr.training.run_folder import last_checkpoint
from rollouts.config import RolloutConfig
from rollouts.engines import make_engine
from tests.training.test_resume import POINTS, Killed, steps_and_prompts
from tests.training.tiny_run import SAMPLING, make_run, prompts  # noqa: F401

pytestmark = pytest.mark.slow

WARM_POLICY = str(Path(__file__).parents[2] / "assets" / "warm_policy")


@pytest.fixture(scope="module")
def warm_processor():
    return load_processor(WARM_POLICY)


@pytest.fixture(scope="module")
def engine(warm_processor):
    """One for all runs: loading it costs more than they do."""
    config = RolloutConfig(engine="vllm", sampling=SAMPLING, max_model_len=400, max_num_seqs=16)
    policy = PolicyConfig(path=WARM_POLICY)
    with make_engine(config, policy.path, policy.dtype, warm_processor, 0) as made:
        yield made


@pytest.fixture
def train(engine, warm_processor, prompts, tmp_path):  # noqa: F811
    """Trains from the last checkpoint of a folder, if there is one; a point kills the run."""

    def trained(name, point=None, **block):
        set_seed(0)
        # as in a new process
        engine.weights_version = 0
        folder = tmp_path / name
        trainer = make_run(folder, WARM_POLICY, warm_processor, prompts, engine=engine, **block)
        if point is not None:
            POINTS[point](trainer)
        try:
            with trainer.collector:
                trainer.train(resume_from_checkpoint=last_checkpoint(RunConfig(dir=str(folder))))
        finally:
            # what a point has put before the engine's methods
            for changed in ("generate", "sync_weights"):
                vars(engine).pop(changed, None)
        return trainer

    return trained


@pytest.mark.parametrize("point", ["after generation", "after the log", "before the rename"])
def test_the_sequence_of_puzzles_is_that_of_the_whole_run(train, tmp_path, point):
    """Eight puzzles, four a step: the kill is in the second pass over them."""
    whole = train("whole")
    with pytest.raises(Killed):
        train("run", point)
    second = train("run")
    found, expected = (steps_and_prompts(tmp_path / name) for name in ("run", "whole"))
    assert found == expected and len(expected) == 20
    assert [prompt for _, prompt in expected[:8]] != [prompt for _, prompt in expected[8:16]]
    assert second._order.sampler.state_dict() == whole._order.sampler.state_dict()
    versions = [
        [
            row["completions"][0]["weights_version"]
            for row in map(json.loads, (tmp_path / name / "rollouts/rank0.jsonl").open())
        ]
        for name in ("run", "whole")
    ]
    # of which each prompt's seed is made
    assert versions[0] == versions[1]
