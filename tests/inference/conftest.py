"""An engine that says what it is told and scores made by a rule, so that votes are known."""

from types import SimpleNamespace

import pytest
import torch

from rl_avr.inference.implicit_reward import TokenRewards
from rollouts.scripted import ScriptedEngine


class RuleScorer:
    """Gives every token of a completion the reward that `rule(text)` says; a token a character."""

    def __init__(self, rule):
        self._rule = rule
        self.num_scored = 0
        tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: "".join(map(chr, ids)))
        self.processor = SimpleNamespace(tokenizer=tokenizer)

    def score(self, prompt, completions):
        self.num_scored += len(completions)
        longest = max(map(len, completions))
        mask = torch.tensor([[t < len(ids) for t in range(longest)] for ids in completions])
        rows = [self._rule("".join(map(chr, ids))) for ids in completions]
        policy = torch.tensor(rows).float()[:, None] * mask
        return TokenRewards(policy, torch.zeros_like(policy), mask)


class CountingEngine(ScriptedEngine):
    """Says `texts` one after another, going on where the last call for a prompt ended."""

    def __init__(self, texts):
        super().__init__(self._next)
        self._texts = list(texts)
        self.asked, self.seeds, self.is_closed = {}, [], False

    def generate(self, prompts, sampling):
        self.seeds.append(sampling.seed)
        return super().generate(prompts, sampling)

    def close(self):
        self.is_closed = True

    def _next(self, prompt, index):
        count = self.asked.get(prompt.prompt_id, 0)
        self.asked[prompt.prompt_id] = count + 1
        return self._texts[count % len(self._texts)]


@pytest.fixture
def counting_engine():
    return CountingEngine


@pytest.fixture
def rule_scorer():
    return RuleScorer
