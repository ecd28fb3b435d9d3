"""vLLM inside the training process, on a CPU or a GPU; one engine a rank.

Prompts go un-expanded (one placeholder an image); vLLM expands them and returns the
ids it used, which the trainer compares with its own. Image placeholders and other
vision tokens are banned, or a sampled one would break the next forward pass.

vLLM's CPU backend repacks linear weights and drops the originals, so weights are
replaced through its layer-wise reload. A layer of which nothing is sent stays as it
was; one that is sent in part would not, so weights come by whole parts (see
`rl_avr.modeling.weights`). The reload does not visit an output head that is tied to
the input embedding, whose packed copy would stay as it was: it is packed again here.
Afterwards the prefix cache, the encoder's cache and the processor's cache are emptied:
the first two hold values of the old weights, and the third would name images that the
engine has forgotten.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from rl_avr.chat import unexpanded_prompt_ids
from rl_avr.closing import Closing
from rl_avr.contracts import Completion, FinishReason, Prompt, RolloutGroup
from rl_avr.errors import RolloutError
from rollouts.config import RolloutConfig
from rollouts.engine import Sampling
from rollouts.faults import check_finite, check_num_images, prompt_too_long
from rollouts.prompt_inputs import prefill_ids, processed_prompt, prompt_images
from rollouts.vllm_adapters import AdapterShape, AdapterSlot
from rollouts.vllm_loading import load_llm
from rollouts.vllm_parallel import Asked, prompt_exchange

_NEVER = -100.0
_LONGEST_QUOTE = 300
_SLEEP_LEVEL = 1  # level 2 forgets the weights, and a sync that leaves some out would not do


class VllmEngine(Closing):
    """An `Engine` on vLLM's offline API.

    Args:
        path: folder or hub name of the policy.
        dtype: precision of the weights and of the key-value cache.
        config: sizes and limits.
        processor: the policy's processor; its chat template makes the prompts.
        banned_token_ids: tokens that are never sampled.
        seed: seed of the engine; `generate` takes a seed of its own.
        load: makes vLLM's engine from path, dtype, config and seed.
        adapter: shape of the adapters that come at a sync; `load` must make room for them.

    Raises:
        ConfigError: a setting that this machine does not have.
        RolloutError: vLLM is missing or cannot load the policy.
    """

    def __init__(
        self,
        path: str,
        dtype: str,
        config: RolloutConfig,
        processor: Any,
        banned_token_ids: Sequence[int],
        seed: int = 0,
        load: Callable[[str, str, RolloutConfig, int], Any] = load_llm,
        adapter: AdapterShape | None = None,
    ) -> None:
        self._processor = processor
        self._config = config
        self._banned: Mapping[int, float] = dict.fromkeys(banned_token_ids, _NEVER)
        self._llm = load(path, dtype, config, seed)
        self._adapter = AdapterSlot(adapter) if adapter else None
        self._exchange = prompt_exchange(config.tensor_parallel_size)
        self._is_asleep = False
        self.weights_version = 0
        self._step: int | None = None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns one group per prompt: one request each with n = `num_generations`.

        A temperature of 0 is greedy and takes one generation.

        Raises:
            DataError: an image cannot be read.
            RolloutError: a prompt is too long or has too many images (nothing is sampled
                then); vLLM failed, returned another number of completions, or a
                sampled token whose logprob is no number.
        """
        check_num_images(prompts, self._config.max_images_per_prompt)
        asked, mine = self._exchange([(prompt, sampling) for prompt in prompts])
        requests = [self._request(prompt) for prompt, _ in asked]
        self._wake()
        self._enqueue(asked, requests)
        try:
            outputs = self._llm.wait_for_completion(use_tqdm=False)
        except _vllm_errors() as error:
            raise RolloutError(
                f"vLLM failed on {len(asked)} prompts, first {asked[0][0].prompt_id}: {error}"
            ) from error
        self._sleep()
        return [
            self._group(prompt, output, sampling.num_generations)
            for prompt, output in zip(prompts, outputs[mine], strict=True)
        ]

    def sync_weights(
        self, named_weights: Iterable[tuple[str, torch.Tensor]], step: int | None = None
    ) -> None:
        """Replaces the weights in place and empties every cache that depends on them.

        Args:
            named_weights: whole parts of the policy; a part that is not among them stays. With
                adapters, their matrices too, as `rl_avr.modeling.weights` names them.
            step: step of the run that they are for.

        Raises:
            RolloutError: vLLM does not know a name, or expects another shape.
        """
        self._wake()
        if self._adapter:
            named_weights = self._adapter.take_out(named_weights)
        try:
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": named_weights})
            if self._adapter:
                self._adapter.load(self._llm)
        except _reload_errors() as error:
            raise RolloutError(
                f"sync {self.weights_version + 1}: vLLM cannot take the policy's weights; expected "
                "those of the policy that it was loaded with, by the same names and shapes: "
                f"{type(error).__name__}: {str(error)[:_LONGEST_QUOTE]}"
            ) from error
        self._llm.apply_model(repack_output_head)
        self._llm.reset_prefix_cache()
        self._llm.llm_engine.engine_core.reset_encoder_cache()
        self._llm.llm_engine.reset_mm_cache()
        self.weights_version, self._step = self.weights_version + 1, step

    def close(self) -> None:
        """Frees the engine; calling it twice does nothing."""
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()

    def _sleep(self) -> None:
        if self._config.sleep:
            self._llm.sleep(level=_SLEEP_LEVEL)
            self._is_asleep = True

    def _wake(self) -> None:
        if self._is_asleep:
            self._llm.wake_up()
            self._is_asleep = False

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        ids = unexpanded_prompt_ids(self._processor, prompt.text, len(prompt.images))
        return {
            "prompt_token_ids": [*ids, *prefill_ids(self._processor, prompt)],
            "multi_modal_data": {"image": prompt_images(prompt)},
        }

    def _enqueue(self, asked: Sequence[Asked], requests: Sequence[dict[str, Any]]) -> None:
        """Hands every request over, or none: vLLM expands and checks a prompt when it gets it."""
        added: list[str] = []
        for (prompt, sampling), request in zip(asked, requests, strict=True):
            try:
                added += self._llm.enqueue(
                    request,
                    self._params(prompt, sampling),
                    lora_request=self._adapter.request if self._adapter else None,
                    use_tqdm=False,
                )
            except _vllm_errors() as error:
                self._llm.llm_engine.abort_request(added, internal=True)
                raise self._refused(prompt, error) from error

    def _refused(self, prompt: Prompt, error: Exception) -> RolloutError:
        """Returns why vLLM did not take a prompt; the processor counts it here alone."""
        length = processed_prompt(self._processor, prompt)["input_ids"].shape[1]
        if length >= self._config.max_model_len:
            return prompt_too_long(prompt.prompt_id, length, self._config.max_model_len)
        return RolloutError(f"prompt {prompt.prompt_id}: vLLM does not take it: {error}")

    def _params(self, prompt: Prompt, sampling: Sampling) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            n=sampling.num_generations,
            temperature=sampling.config.temperature,
            top_p=sampling.config.top_p,
            max_tokens=sampling.config.max_new_tokens,
            logprobs=0,
            logit_bias=dict(self._banned),
            detokenize=False,
            seed=sampling.prompt_seed(prompt, self.weights_version),
        )

    def _group(self, prompt: Prompt, output: Any, num_generations: int) -> RolloutGroup:
        if len(output.outputs) != num_generations:
            raise RolloutError(
                f"prompt {prompt.prompt_id}: expected {num_generations} completions from vLLM, "
                f"got {len(output.outputs)}"
            )
        ids = [list(sample.token_ids) for sample in output.outputs]
        texts = self._processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
        completions = tuple(
            self._completion(sample, text)
            for sample, text in zip(output.outputs, texts, strict=True)
        )
        check_finite(prompt.prompt_id, completions, self._step)
        return RolloutGroup(prompt, tuple(output.prompt_token_ids), completions)

    def _completion(self, sample: Any, text: str) -> Completion:
        logprobs = tuple(
            step[token].logprob
            for step, token in zip(sample.logprobs, sample.token_ids, strict=True)
        )
        reason: FinishReason = (
            sample.finish_reason if sample.finish_reason in ("stop", "length") else "abort"
        )
        return Completion(text, tuple(sample.token_ids), logprobs, reason, self.weights_version)


def _vllm_errors() -> tuple[type[Exception], ...]:
    """Returns what vLLM raises; its own family is of no standard type."""
    from vllm.exceptions import VLLMError

    return (VLLMError, RuntimeError, ValueError, AssertionError)


def _reload_errors() -> tuple[type[Exception], ...]:
    return (*_vllm_errors(), KeyError, AttributeError)


def repack_output_head(model: torch.nn.Module) -> None:
    """Packs the output head of vLLM's model anew from its weight, after a reload."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)
