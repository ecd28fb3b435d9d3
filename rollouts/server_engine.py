"""An engine on replicas of vLLM's server; `rl-avr serve-rollouts` starts them.

One request a prompt, to the replica with the least to do. A replica that refuses the
connection, ends in the middle, answers wrongly or not in time is dropped: its requests
go to the others, and it is taken back once it is healthy and has the current weights.
Groups are assembled by the prompt's place in the call, and the first whole answer by
the current weights is the one that counts; what comes later, or was sampled by other
weights, is thrown away.

Weights travel by one of the ways of `rollouts.server_transport`. Of several training
processes the first one sends, and brings replicas up to date. One run has a replica at
a time: every request carries its claim.
"""

import base64
import io
import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from rl_avr.chat import adds_special_tokens, decode_image
from rl_avr.closing import Closing
from rl_avr.contracts import Completion, FinishReason, Prompt, RolloutGroup
from rl_avr.errors import RolloutError
from rollouts.config import RolloutConfig, ServerConfig
from rollouts.engine import Sampling
from rollouts.faults import check_finite, check_num_images, prompt_too_long
from rollouts.prompt_inputs import prefill_ids, processed_prompt
from rollouts.server_address import find_servers
from rollouts.server_call import ServerCall
from rollouts.server_claim import own_claim
from rollouts.server_client import (
    HeldByAnotherRun,
    NotFinite,
    ReplicaClient,
    ReplicaFault,
    RequestRefused,
)
from rollouts.server_pool import ReplicaPool
from rollouts.server_transport import WeightTransport, make_transport

_NEVER = -100.0


class ServerEngine(Closing):
    """An `Engine` on one or many replicas.

    Args:
        path: folder or hub name of the policy whose weights are version 0.
        config: sizes, limits and the block `server`.
        processor: the policy's processor.
        banned_token_ids: tokens that are never sampled.
        make_transport: (settings, name of the run) -> what carries its weights.

    Raises:
        ConfigError: no address or no key is known, or the weights' way needs what is not here.
        RolloutError: no replica answers in time, or another run has them.
    """

    def __init__(
        self,
        path: str,
        config: RolloutConfig,
        processor: Any,
        banned_token_ids: Sequence[int],
        make_transport: Callable[[ServerConfig, str], WeightTransport] = make_transport,
    ) -> None:
        self._config = config
        self._server = config.server
        self._processor = processor
        self._bias = {str(token): _NEVER for token in banned_token_ids}
        self._adds_special_tokens = adds_special_tokens(processor)
        self._run: str = _from_first_rank(secrets.token_hex(4))
        self._is_first_rank = _rank() == 0
        self._transport = make_transport(self._server, self._run) if self._is_first_rank else None
        servers, claim = find_servers(self._server), own_claim(self._run)
        clients = [
            ReplicaClient(
                url,
                servers.api_key,
                claim,
                self._server.connect_timeout_s,
                self._server.request_timeout_s,
                self._server.health_timeout_s,
            )
            for url in servers.urls
        ]
        self._pool = ReplicaPool(
            clients, resolved(path), self._server.health_interval_s, self._transport
        )
        self.weights_version = 0
        self._step: int | None = None
        self._pool.start(self._version_name)
        try:
            self._pool.wait_for_any(self._server.wait_timeout_s, "at the start")
        except RolloutError:
            self.close()
            raise

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns one group per prompt, in order, each whole and of the current weights.

        Raises:
            RolloutError: no replica is left; a prompt failed on every try; a prompt is
                too long or has too many images; a sampled token's logprob is no number.
        """
        check_num_images(prompts, self._config.max_images_per_prompt)
        names = [prompt.prompt_id for prompt in prompts]
        # twice what a replica decodes at once: it always has the next prompt at hand
        max_load = max(1, 2 * self._config.max_num_seqs // sampling.num_generations)

        def ask(index: int, client: ReplicaClient) -> RolloutGroup:
            return self._sample(prompts[index], sampling, client)

        return ServerCall(self._pool, self._server, names, ask, max_load).run()

    def sync_weights(
        self, named_weights: Iterable[tuple[str, torch.Tensor]], step: int | None = None
    ) -> None:
        """Replaces the weights of every replica that answers; the others get them on return.

        Args:
            named_weights: all at the first sync; later those that have changed are enough.
            step: step of the run that they are for.

        Raises:
            RolloutError: the weights cannot be written, or no replica takes them in time.
        """
        version, problem = self.weights_version + 1, None
        self._step = step
        if self._transport is not None:
            try:
                self._transport.keep(version, named_weights)
                self.weights_version = version
                self._pool.update(self._version_name)
                self._pool.wait_for_any(self._server.wait_timeout_s, f"at sync {version}")
            except RolloutError as error:
                problem = error
        else:
            for _ in named_weights:  # a sharded policy is gathered by all ranks together
                pass
        # no rank samples before the first one is done, and none waits for one that failed
        failed = _from_first_rank(str(problem) if problem else "")
        if failed:
            raise problem or RolloutError(failed)
        if not self._is_first_rank:
            self.weights_version = version
            self._pool.update(self._version_name)

    def close(self) -> None:
        """Lets go of the replicas, which go on running, and deletes the weights kept for them."""
        self._pool.close()
        if self._transport is not None:
            self._transport.close()

    @property
    def _version_name(self) -> str:
        # a replica may still have weights of another run
        return f"{self._run}/{self.weights_version}"

    def _sample(self, prompt: Prompt, sampling: Sampling, client: ReplicaClient) -> RolloutGroup:
        """Returns one prompt's group from one replica.

        Raises:
            ReplicaFault: another replica may do better.
            RolloutError, DataError: none would.
        """
        try:
            answer, version = client.sample(self._body(prompt, sampling))
        except NotFinite as error:
            raise self._not_finite(prompt) from error
        except HeldByAnotherRun as held:
            raise ReplicaFault(str(held)) from held
        except RequestRefused as refused:
            raise self._refusal(prompt, refused) from refused
        if version != self._pool.version:
            raise ReplicaFault(f"sampled by weights {version!r}, expected {self._pool.version!r}")
        return self._group(prompt, answer, sampling.num_generations)

    def _body(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        """Returns the request of a prompt: images first, then the text, as the trainer has it."""
        images = [
            {
                "type": "image_url",
                "image_url": {"url": _data_url(image, f"{prompt.prompt_id}, image {i}")},
            }
            for i, image in enumerate(prompt.images)
        ]
        asked = {"role": "user", "content": [*images, {"type": "text", "text": prompt.text}]}
        begun = {"role": "assistant", "content": prompt.prefill}
        is_free = not prompt.prefill
        return {
            "messages": [asked] if is_free else [asked, begun],
            "add_generation_prompt": is_free,
            "continue_final_message": not is_free,
            "n": sampling.num_generations,
            "seed": sampling.prompt_seed(prompt, self.weights_version),
            "temperature": sampling.config.temperature,
            "top_p": sampling.config.top_p,
            "max_completion_tokens": sampling.config.max_new_tokens,
            "logprobs": True,
            "top_logprobs": 0,
            "return_token_ids": True,
            "logit_bias": self._bias,
            "add_special_tokens": self._adds_special_tokens,
        }

    def _group(self, prompt: Prompt, answer: dict[str, Any], num_generations: int) -> RolloutGroup:
        """Returns the group in a replica's answer.

        Raises:
            ReplicaFault: the answer is not `num_generations` whole completions.
            RolloutError: the logprob of a sampled token is no number, or the replica did not go
                on from the prompt's prefill.
        """
        try:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            texts = self._processor.tokenizer.batch_decode(
                [choice["token_ids"] for choice in choices], skip_special_tokens=True
            )
            completions = tuple(
                _completion(choice, text, self.weights_version)
                for choice, text in zip(choices, texts, strict=True)
            )
            prompt_ids = tuple(int(token) for token in answer["prompt_token_ids"])
        except (KeyError, TypeError, ValueError) as error:
            raise ReplicaFault(f"not a whole answer: {error!r}") from error
        if len(completions) != num_generations:
            raise ReplicaFault(f"expected {num_generations} completions, got {len(completions)}")
        more = tuple(prefill_ids(self._processor, prompt))
        if more and prompt_ids[-len(more) :] != more:
            raise RolloutError(
                f"prompt {prompt.prompt_id}: expected its ids to end with the {len(more)} of its "
                "prefill; the policy's chat template does not leave the beginning of a turn as it "
                "is, so that no server can go on from it; take rollouts.engine vllm"
            )
        check_finite(prompt.prompt_id, completions, self._step)
        return RolloutGroup(prompt, prompt_ids, completions)

    def _not_finite(self, prompt: Prompt) -> Exception:
        """Returns the error of weights that give no number, in the words of every engine."""
        unknown = Completion("", (0,), (math.nan,), "stop", self.weights_version)
        try:
            check_finite(prompt.prompt_id, [unknown], self._step)
        except RolloutError as error:
            return error
        raise AssertionError("a logprob that is no number passed")

    def _refusal(self, prompt: Prompt, refused: RequestRefused) -> RolloutError:
        """Returns the error of a prompt that no replica takes."""
        length = processed_prompt(self._processor, prompt)["input_ids"].shape[1]
        if length >= self._config.max_model_len:
            return prompt_too_long(prompt.prompt_id, length, self._config.max_model_len)
        return RolloutError(f"prompt {prompt.prompt_id}: {refused}")


def resolved(path: str) -> str:
    """Returns a folder's full path, or a hub name as it is."""
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def _completion(choice: dict[str, Any], text: str, weights_version: int) -> Completion:
    ids = tuple(int(token) for token in choice["token_ids"])
    logprobs = tuple(float(step["logprob"]) for step in choice["logprobs"]["content"])
    reason = choice["finish_reason"]
    if len(ids) != len(logprobs):
        raise ValueError(f"{len(ids)} tokens with {len(logprobs)} logprobs")
    if reason not in ("stop", "length"):
        raise ValueError(f"finish_reason {reason!r}: the replica gave the request up")
    known: FinishReason = reason
    return Completion(text, ids, logprobs, known, weights_version)


def _data_url(image: bytes, where: str) -> str:
    """Returns the image as the trainer sees it: vLLM would turn it upright by its EXIF mark, and
    put a transparent one on white."""
    stream = io.BytesIO()
    decode_image(image, where).save(stream, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _rank() -> int:
    distributed = torch.distributed
    is_up = distributed.is_available() and distributed.is_initialized()
    return distributed.get_rank() if is_up else 0


def _from_first_rank(value: Any) -> Any:
    """Returns what the first rank passed; every rank must call it."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]
