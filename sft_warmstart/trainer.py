"""SFT on trl's trainer, with conversations packed, losses and metrics of our own.

What is wrapped, and why (a contract test names each seam and its signature):

    _get_train_sampler          the rows are in the order of the run already
    _get_num_items_in_batch     counts the tokens that the loss counts, over all ranks
    compute_loss                the policy's pass over conversations, and the loss; refuses one
                                that is not finite
    log                         accuracy, entropy, the loss of each kind, and what a step costs
    those of training.guarded   checkpoints, gradients, an early stop
"""

from typing import Any, get_args

import torch
from torch.utils.data import SequentialSampler
from trl import SFTTrainer

from rl_avr.algo.sft_loss import kept_tokens, mean_cross_entropy, num_kept
from rl_avr.metric_names import (
    CONVERSATION_ENCODINGS,
    ENTROPY,
    NUM_TOKENS,
    TOKEN_ACCURACY,
    kind_loss,
)
from rl_avr.modeling.conversation_pass import ConversationBatch
from rl_avr.training.finite import check_loss
from rl_avr.training.guarded import Guarded
from rl_avr.training.usage import VisionCount, peak_memory
from sft_warmstart.config import Kind, LossConfig
from sft_warmstart.policy_pass import SftPass

_KINDS: tuple[Kind, ...] = get_args(Kind)
_CROSS_ENTROPY, _TRAINED, _RIGHT, _ENTROPY, _TOKENS = range(5)
"""Columns of the sums that metrics are made of."""


class AvrSftTrainer(Guarded, SFTTrainer):
    """trl's SFT over rows that `ConversationCollator` makes conversations of.

    Args:
        loss: what is minimised, and how conversations go through the policy.
        stop_after_steps: the run ends here, early in its schedule; 0 at the schedule's end.
        kwargs: of `trl.SFTTrainer`, `data_collator` among them.
    """

    # the loss is divided by the tokens of the whole step
    loss_is_scaled_for_ga = True

    def __init__(self, *, loss: LossConfig, stop_after_steps: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._loss = loss
        self._sums_KM = torch.zeros(len(_KINDS), 5, dtype=torch.float64)
        self._pass = SftPass(
            loss,
            self._tokenizer.pad_token_id or 0,
            self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps,
            self.accelerator,
        )
        self._pass.enable(self.accelerator.unwrap_model(self.model))
        self._vision = VisionCount([self.model], CONVERSATION_ENCODINGS)
        self._vision.is_on = False
        self._guard(stop_after_steps)

    @property
    def why_plain(self) -> str | None:
        """Why conversations go through the policy as rows; None where they are packed."""
        return self._pass.why_plain

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Any]], device: torch.device
    ) -> torch.Tensor:
        share = self._token_share
        counts = [num_kept(batch["conversations"].num_trained, share) for batch in batch_samples]
        num_tokens = torch.tensor(sum(counts), device=device)
        if self.args.average_tokens_across_devices:
            num_tokens = self.accelerator.gather(num_tokens).sum()
        return num_tokens

    @property
    def _token_share(self) -> float:
        return self._loss.token_share if self._loss.name == "entropy" else 1.0

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns this batch's part of the mean loss of the step.

        Raises:
            UpdateError: it is not finite.
        """
        batch: ConversationBatch = inputs["conversations"]
        self._now.enter(self.state.global_step, inputs["names"])
        self._pass.decide(model, batch)
        self._vision.is_on = True
        output = self._pass(model, batch)
        self._vision.is_on = False
        kept_S = None
        if self._token_share < 1:
            kept_S = kept_tokens(
                output.logprobs, output.entropies, self._loss.entropy_weight, self._token_share
            )
        if num_items_in_batch is None:
            num_items_in_batch = self._get_num_items_in_batch([inputs], self.args.device)
        loss = mean_cross_entropy(output.logprobs, kept_S, num_items_in_batch)
        if self.args.average_tokens_across_devices:
            # gradients are averaged over processes
            loss = loss * self.accelerator.num_processes
        check_loss(loss, self.state.global_step, inputs["names"])
        self._note(batch, inputs["kinds"], output)
        return loss

    def _note(self, batch: ConversationBatch, kinds: list[Kind], output: Any) -> None:
        """Adds a batch to the sums by kind."""
        rows = torch.tensor([_KINDS.index(kind) for kind in kinds])
        counts = torch.tensor([c.num_trained for c in batch.conversations])
        values_SM = torch.stack(
            [
                -output.logprobs.detach().double(),
                torch.ones(len(output.logprobs), device=output.logprobs.device),
                output.is_top1.double(),
                output.entropies.double(),
            ],
            dim=1,
        ).cpu()
        self._sums_KM[:, :_TOKENS].index_add_(0, rows.repeat_interleave(counts), values_SM)
        lengths = torch.tensor([len(c.ids_L) for c in batch.conversations], dtype=torch.float64)
        self._sums_KM[:, _TOKENS].index_add_(0, rows, lengths)
        self._clock.count(trained=int(lengths.sum()))
        self._vision.trained(len(batch.conversations))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs what trl logs of a step, the loss of each kind, and what steps cost."""
        if self.model.training:
            logs.update(self._step_metrics())
            usage = {**self._clock.take(), **self._vision.take()}
            if usage:
                logs.update(usage | peak_memory())
        super().log(logs, start_time)

    def _step_metrics(self) -> dict[str, float]:
        """Returns the metrics of all ranks since the last log; {} where there was no step."""
        sums_KM = self.accelerator.reduce(self._sums_KM.to(self.accelerator.device)).cpu()
        self._sums_KM.zero_()
        total_M = sums_KM.sum(dim=0)
        if not total_M[_TRAINED]:
            return {}
        # transformers counts with this only where it is asked to, and keeps it in checkpoints
        self.state.num_input_tokens_seen += int(total_M[_TOKENS])
        means_KM = sums_KM / sums_KM[:, _TRAINED, None]
        return {
            TOKEN_ACCURACY: (total_M[_RIGHT] / total_M[_TRAINED]).item(),
            ENTROPY: (total_M[_ENTROPY] / total_M[_TRAINED]).item(),
            NUM_TOKENS: self.state.num_input_tokens_seen,
            **{
                kind_loss(kind): means_KM[row, _CROSS_ENTROPY].item()
                for row, kind in enumerate(_KINDS)
                if sums_KM[row, _TRAINED]
            },
        }
