"""transformers' generate as a rollout engine: no vLLM needed, the same bits on a CPU every time.

Each puzzle is read once: its image is processed and encoded, and its prompt computed,
in a batch of one; the key-value cache is then repeated for the group, and `generate`
goes on from there. Groups are sampled one after the other, each from a generator of its
own, so what stands beside a puzzle in a call changes nothing.

`generate` has no generator, and would keep (tokens, G, V) scores to give logprobs. The
last logits processor here draws the tokens instead, keeps their logprobs, and leaves
them as the only possible ones.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from rl_avr.closing import Closing
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.errors import RolloutError
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Sampling
from rollouts.faults import check_finite, check_num_images, prompt_too_long
from rollouts.prompt_inputs import processed_prompt


class TransformersEngine(Closing):
    """An `Engine` on a copy of the policy of its own.

    Args:
        path: folder or hub name of the policy.
        dtype: precision of the weights.
        config: sizes and limits.
        processor: the policy's processor; its chat template makes the prompts.
        banned_token_ids: tokens that are never sampled.

    Raises:
        RolloutError: transformers cannot load the policy.
    """

    def __init__(
        self,
        path: str,
        dtype: str,
        config: RolloutConfig,
        processor: Any,
        banned_token_ids: Sequence[int],
    ) -> None:
        self._model = _load(path, dtype, processor)
        self._processor = processor
        self._config = config
        self._banned = torch.tensor(list(banned_token_ids), dtype=torch.long)
        self._parameters = dict(self._model.named_parameters())
        self.weights_version = 0
        self._step: int | None = None

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns one group per prompt; at most `max_num_seqs` completions grow at once.

        A temperature of 0 is greedy and takes one generation.

        Raises:
            DataError: an image cannot be read.
            RolloutError: a prompt is too long or has too many images (nothing is sampled
                then), or a sampled token has a logprob that is no number.
        """
        check_num_images(prompts, self._config.max_images_per_prompt)
        inputs = [self._inputs(prompt) for prompt in prompts]
        return [
            self._group(prompt, read, sampling)
            for prompt, read in zip(prompts, inputs, strict=True)
        ]

    @torch.no_grad()
    def sync_weights(
        self, named_weights: Iterable[tuple[str, torch.Tensor]], step: int | None = None
    ) -> None:
        """Copies the weights by name; the first sync brings all, later ones what has changed.

        Raises:
            RolloutError: a name or a shape is not the policy's, or the first sync leaves
                some out.
        """
        sync = self.weights_version + 1
        missing = set(self._parameters)
        for name, weight in named_weights:
            own = self._parameters.get(name)
            if own is None or own.shape != weight.shape:
                raise RolloutError(
                    f"sync {sync}: weight {name} {tuple(weight.shape)}: the engine's policy has "
                    + (f"shape {tuple(own.shape)}" if own is not None else "no such weight")
                    + "; expected the weights of the policy that the engine was loaded with"
                )
            own.copy_(weight)
            missing.discard(name)
        if self.weights_version == 0 and missing:
            raise RolloutError(
                f"sync {sync}: {len(missing)} weights never came, first {min(missing)}; expected "
                "every weight at the first sync"
            )
        self.weights_version, self._step = sync, step

    def close(self) -> None:
        """Frees the policy; calling it twice does nothing."""
        self._model, self._parameters = None, {}

    def _inputs(self, prompt: Prompt) -> Any:
        """Returns the processor's tensors of one prompt, a batch of one."""
        inputs = processed_prompt(self._processor, prompt)
        length = inputs["input_ids"].shape[1]
        if length >= self._config.max_model_len:
            raise prompt_too_long(prompt.prompt_id, length, self._config.max_model_len)
        return inputs.to(self._model.device)

    def _group(self, prompt: Prompt, inputs: Any, sampling: Sampling) -> RolloutGroup:
        generator = torch.Generator(self._model.device)
        generator.manual_seed(sampling.prompt_seed(prompt, self.weights_version))
        cache = self._prompt_cache(inputs)
        ids = inputs["input_ids"]
        limit = min(sampling.config.max_new_tokens, self._config.max_model_len - ids.shape[1])
        completions: list[Completion] = []
        while (left := sampling.num_generations - len(completions)) > 0:
            draw = _Draw(sampling.config, self._banned, generator)
            self._continue(ids, cache, min(left, self._config.max_num_seqs), limit, draw)
            completions += self._completions(draw)
        check_finite(prompt.prompt_id, completions, self._step)
        return RolloutGroup(prompt, tuple(ids[0].tolist()), tuple(completions))

    def _prompt_cache(self, inputs: Any) -> Any:
        """Returns the key-value cache of the prompt less its last token, which `generate` reads."""
        cache = self._model(**inputs, use_cache=True, logits_to_keep=1).past_key_values
        cache.crop(-1)
        return cache

    def _continue(
        self, ids: torch.Tensor, cache: Any, rows: int, limit: int, draw: "_Draw"
    ) -> None:
        cache = copy.deepcopy(cache)
        cache.batch_repeat_interleave(rows)
        prompt_ids = ids.expand(rows, -1)
        self._model.generate(
            input_ids=prompt_ids,
            attention_mask=torch.ones_like(prompt_ids),
            past_key_values=cache,
            logits_processor=[draw],
            max_new_tokens=limit,
            do_sample=False,
        )

    def _completions(self, draw: "_Draw") -> list[Completion]:
        """Returns the drawn tokens of each row up to its end token."""
        ends = set(self._model.generation_config.eos_token_id)
        rows = zip(
            torch.stack(draw.tokens, dim=1).tolist(),
            torch.stack(draw.logprobs, dim=1).tolist(),
            strict=True,
        )
        found = []
        for ids, logprobs in rows:
            end = next((i + 1 for i, token in enumerate(ids) if token in ends), None)
            text = self._processor.tokenizer.decode(ids[:end], skip_special_tokens=True)
            found.append(
                Completion(
                    text,
                    tuple(ids[:end]),
                    tuple(logprobs[:end]),
                    "stop" if end else "length",
                    self.weights_version,
                )
            )
        return found


class _Draw:
    """A logits processor that samples: of its scores only the drawn token is possible.

    Logprobs are of the distribution drawn from; of a greedy token, of the policy's own.
    """

    def __init__(
        self, config: SamplingConfig, banned: torch.Tensor, generator: torch.Generator
    ) -> None:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        self._banned = banned.to(generator.device)
        self._generator = generator
        self._is_greedy = config.temperature == 0
        self._warpers: list[Any] = []
        if config.temperature not in (0, 1):
            self._warpers.append(TemperatureLogitsWarper(float(config.temperature)))
        if config.top_p < 1:
            self._warpers.append(TopPLogitsWarper(config.top_p))
        self.tokens: list[torch.Tensor] = []
        self.logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Returns (G, V): 0 for each row's drawn token, minus infinity for all others."""
        scores = scores.float().index_fill(-1, self._banned, -torch.inf)
        if not self._is_greedy:
            for warper in self._warpers:
                scores = warper(input_ids, scores)
        logprobs = scores.log_softmax(-1)
        tokens = logprobs.argmax(-1) if self._is_greedy else self._sample(logprobs)
        self.tokens.append(tokens)
        self.logprobs.append(logprobs.gather(1, tokens[:, None])[:, 0])
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)

    def _sample(self, logprobs: torch.Tensor) -> torch.Tensor:
        # of no numbers multinomial would raise without a prompt's name; check_finite has it
        probabilities = logprobs.exp().nan_to_num(1.0)
        return torch.multinomial(probabilities, 1, generator=self._generator)[:, 0]


def _load(path: str, dtype: str, processor: Any) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, GenerationConfig

    try:
        model = AutoModelForImageTextToText.from_pretrained(path, dtype=getattr(torch, dtype))
    except (OSError, ValueError, SafetensorError) as error:
        raise RolloutError(
            f"rollouts.engine transformers: cannot load the policy {path} in {dtype}: {error}"
        ) from error
    ends = model.generation_config.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends or [processor.tokenizer.eos_token_id])
    # a checkpoint's own penalties and cuts would bend the distribution
    model.generation_config = GenerationConfig(
        eos_token_id=ends, pad_token_id=processor.tokenizer.pad_token_id
    )
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
