"""vLLM inside the training process, on a CPU or a GPU; one engine a rank.

Prompts go un-expanded (one placeholder an image); vLLM expands them and returns the
ids it used, which the trainer compares with its own. Image placeholders and other
vision tokens are banned, or a sampled one would break the next forward pass.

vLLM's CPU backend repacks linear weights and drops the originals, so weights are
replaced through its layer-wise reload. The reload does not visit an output head that
is tied to the input embedding, whose packed copy would stay as it was: it is packed
again here. Afterwards the prefix cache, the encoder's cache and the processor's cache
are emptied: each holds values of the old weights.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch

from rl_avr.chat import decode_image, unexpanded_prompt_ids
from rl_avr.contracts import Completion, FinishReason, Prompt, RolloutGroup
from rl_avr.errors import RolloutError
from rl_avr.torchvision_compat import cover_vllm_inspection
from rollouts.config import RolloutConfig, SamplingConfig

logger = logging.getLogger(__name__)

_NEVER = -100.0


class VllmEngine:
    """An `Engine` on vLLM's offline API.

    Args:
        path: folder or hub name of the policy.
        dtype: precision of the weights and of the key-value cache.
        config: sizes and limits.
        processor: the policy's processor; its chat template makes the prompts.
        banned_token_ids: tokens that are never sampled.
        seed: seed of the engine; `generate` takes a seed of its own.

    Raises:
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
    ) -> None:
        self._processor = processor
        self._banned: Mapping[int, float] = dict.fromkeys(banned_token_ids, _NEVER)
        self._llm = _load(path, dtype, config, seed)
        self.weights_version = 0

    def generate(
        self, prompts: Sequence[Prompt], num_generations: int, sampling: SamplingConfig, seed: int
    ) -> list[RolloutGroup]:
        """Returns one group per prompt: one request each with n = `num_generations`.

        A temperature of 0 is greedy and takes one generation.

        Raises:
            RolloutError: vLLM failed, or returned another number of completions.
        """
        from vllm import SamplingParams

        params = SamplingParams(
            n=num_generations,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,
            logprobs=0,
            logit_bias=dict(self._banned),
            detokenize=False,
        )
        requests = [self._request(prompt) for prompt in prompts]
        # A seed per request would make vLLM sample row by row; its own generator is
        # torch's global one, which is set here and given back.
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                outputs = self._llm.generate(requests, params, use_tqdm=False)
            except (RuntimeError, ValueError, AssertionError) as error:
                raise RolloutError(
                    f"vLLM failed on {len(prompts)} prompts, first {prompts[0].prompt_id}: {error}"
                ) from error
        return [
            self._group(prompt, output, num_generations)
            for prompt, output in zip(prompts, outputs, strict=True)
        ]

    def sync_weights(self, named_weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Replaces the weights in place and empties every cache that depends on them."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": named_weights})
        self._llm.apply_model(_repack_output_head)
        self._llm.reset_prefix_cache()
        self._llm.llm_engine.engine_core.reset_encoder_cache()
        self._llm.llm_engine.reset_mm_cache()
        self.weights_version += 1

    def close(self) -> None:
        """Frees the engine; calling it twice does nothing."""
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()

    def __enter__(self) -> "VllmEngine":
        """Returns the engine."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the engine."""
        self.close()

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "prompt_token_ids": unexpanded_prompt_ids(self._processor, prompt.text),
            "multi_modal_data": {"image": decode_image(prompt.image_png, prompt.prompt_id)},
        }

    def _group(self, prompt: Prompt, output: Any, num_generations: int) -> RolloutGroup:
        if len(output.outputs) != num_generations:
            raise RolloutError(
                f"prompt {prompt.prompt_id}: expected {num_generations} completions from vLLM, "
                f"got {len(output.outputs)}"
            )
        ids = [list(sample.token_ids) for sample in output.outputs]
        texts = self._processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return RolloutGroup(
            prompt,
            tuple(output.prompt_token_ids),
            tuple(
                self._completion(sample, text)
                for sample, text in zip(output.outputs, texts, strict=True)
            ),
        )

    def _completion(self, sample: Any, text: str) -> Completion:
        logprobs = tuple(
            step[token].logprob
            for step, token in zip(sample.logprobs, sample.token_ids, strict=True)
        )
        reason: FinishReason = (
            sample.finish_reason if sample.finish_reason in ("stop", "length") else "abort"
        )
        return Completion(text, tuple(sample.token_ids), logprobs, reason, self.weights_version)


def _repack_output_head(model: torch.nn.Module) -> None:
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)


def _load(path: str, dtype: str, config: RolloutConfig, seed: int) -> Any:
    _set_environment(config)
    try:
        from vllm import LLM

        cover_vllm_inspection()
    except ImportError as error:
        raise RolloutError(
            f"rollouts.engine vllm: vLLM cannot be imported ({error}); install the extra `cpu` or "
            "`gpu` of this package, or run `make env`"
        ) from error
    on_gpu = torch.cuda.is_available()
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        return LLM(
            model=path,
            dtype=dtype,
            seed=seed,
            max_model_len=config.max_model_len,
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=max(4096, config.max_model_len),
            limit_mm_per_prompt={"image": 1, "video": 0},
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
            disable_log_stats=True,
            enforce_eager=not on_gpu,
            **({"gpu_memory_utilization": config.gpu_memory_utilization} if on_gpu else {}),
            **({"distributed_executor_backend": "external_launcher"} if ranks > 1 else {}),
        )
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise RolloutError(f"vLLM cannot load the policy {path} in {dtype}: {error}") from error


def _set_environment(config: RolloutConfig) -> None:
    """Sets what vLLM reads from the environment at import; the user's own values win."""
    defaults = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(config.cpu_kv_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
