"""Preference training on trl's DPO trainer, with images, shared prefixes and cached references.

The losses against a reference are trl's own: `_compute_loss` hands it the policy's logprobs as if
a model had just made them, with the reference's beside them. What is wrapped, and why (a contract
test names each seam and its signature):

    _prepare_dataset            rows name pairs; the collator tokenises them
    _precompute_ref_logps       which trl refuses for images: once for all pairs, kept on disk
    _compute_loss               the policy's pass over pairs; losses that need no reference
    _get_train_sampler          the rows are in the order of the run already
    log                         what a step costs
    those of training.guarded   checkpoints, gradients, an early stop

N: pairs, B: completions, C: longest completion.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from tqdm import tqdm
from trl import DPOTrainer

from rl_avr.algo import preference_losses
from rl_avr.errors import ConfigError, DataError
from rl_avr.metric_names import PAIR_ENCODINGS
from rl_avr.preference.pair_batch import PairBatch, PairCollator
from rl_avr.preference.pair_pass import PairPass
from rl_avr.preference.reference_cache import PairLogprobs, ReferenceCache
from rl_avr.preference.train_config import PairLossConfig
from rl_avr.training.config import UpdateConfig
from rl_avr.training.finite import check_loss
from rl_avr.training.guarded import Guarded
from rl_avr.training.usage import VisionCount, peak_memory

_NOT_MEASURED = ("logits/chosen", "logits/rejected", "mean_token_accuracy")
"""Metrics of trl that would need more of the logits than is computed."""


class AvrDpoTrainer(Guarded, DPOTrainer):
    """trl's DPO over rows that `PairCollator` makes pairs of.

    Args:
        loss: what is minimised.
        update: how pairs go through the policy.
        cache: where the reference's logprobs are kept; None where the loss needs none.
        stop_after_steps: the run ends here, early in its schedule; 0 at the schedule's end.
        kwargs: of `trl.DPOTrainer`; its `args.precompute_ref_log_probs` is true.
    """

    def __init__(
        self,
        *,
        loss: PairLossConfig,
        update: UpdateConfig,
        cache: ReferenceCache | None,
        stop_after_steps: int = 0,
        **kwargs: Any,
    ) -> None:
        # asked for while trl's own constructor runs
        self._loss = loss
        self._update = update
        self._cache = cache
        self._reference: list[PairLogprobs] | None = None
        super().__init__(**kwargs)
        if self.aux_loss_enabled:
            raise ConfigError(
                "trainer.router_aux_loss_coef: the balance of a mixture of experts is no part of "
                "this loss; expected 0"
            )
        self._vision = VisionCount([self.model], PAIR_ENCODINGS)
        self._guard(stop_after_steps)

    @property
    def why_plain(self) -> str | None:
        """Why completions go through the policy as rows; None where prefixes are shared."""
        return self._pass.why_plain

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """Fills the cache, shards in turn on the ranks, and reads it; returns the rows as given."""
        args, device = self.args, self.accelerator.device
        self._pass = PairPass(
            self._update,
            self._tokenizer.pad_token_id or 0,
            args.per_device_train_batch_size * args.gradient_accumulation_steps,
            self.accelerator,
        )
        self._pass.enable(self.model)
        # with DeepSpeed it is still where it was loaded
        self.model.to(device)
        # all ranks decide here which way pairs go, also those that get no shard
        self._reference_logprobs(self._collator.batch([0], is_whole=True))
        if self._cache is None:
            return dataset
        if self.accelerator.is_main_process:
            self._cache.open()
        self.accelerator.wait_for_everyone()
        own = self._cache.missing()[
            self.accelerator.process_index :: self.accelerator.num_processes
        ]
        self.accelerator.wait_for_everyone()
        for shard in tqdm(own, "reference", unit="shard", leave=False, disable=args.disable_tqdm):
            places = self._cache.places(shard)
            found: list[PairLogprobs] = []
            for start in range(0, len(places), batch_size):
                some = self._collator.batch(places[start : start + batch_size], is_whole=True)
                found += self._reference_logprobs(some)
            self._cache.write(shard, found)
        self.accelerator.wait_for_everyone()
        self._reference = self._cache.read()
        return dataset

    @property
    def _collator(self) -> PairCollator:
        return self.data_collator

    def _reference_logprobs(self, batch: PairBatch) -> list[PairLogprobs]:
        # adapters are new here, and change nothing yet
        with torch.no_grad(), self.accelerator.autocast():
            logprobs_BC, _ = self._pass(self.model, batch.on(self.accelerator.device))
        if not bool(logprobs_BC.isfinite().all()):
            raise DataError(
                f"pairs {', '.join(batch.names)}: the reference policy's logprobs are not finite; "
                "expected numbers: look at the weights in policy.path, or load them in another "
                "policy.dtype"
            )
        rows = [
            row[:length].float().cpu()
            for row, length in zip(
                logprobs_BC, batch.completion_mask_BC.sum(dim=1).tolist(), strict=True
            )
        ]
        sides = zip(batch.chosen_N.tolist(), batch.rejected_N.tolist(), strict=True)
        return [(rows[chosen], rows[rejected]) for chosen, rejected in sides]

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """Returns the mean loss of a batch of pairs.

        Raises:
            UpdateError: it is not finite.
        """
        assert not return_outputs, "nothing is generated from pairs"
        batch: PairBatch = inputs["pairs"].on(self.accelerator.device)
        self._now.enter(self.state.global_step, batch.names)
        logprobs_BC, entropies_BC = self._pass(model, batch)
        sides_2N = torch.cat([batch.chosen_N, batch.rejected_N])
        weights_BC = batch.weights_BC
        if not self._loss.has_reference:
            # metrics are those of mean logprobs, as in trl's trainers of these losses
            weights_BC = weights_BC / weights_BC.sum(dim=1, keepdim=True).clamp(min=1e-9)
        scored = SimpleNamespace(
            log_probs=(logprobs_BC * weights_BC)[sides_2N],
            entropy=entropies_BC[sides_2N],
            mean_logits=torch.zeros_like(entropies_BC)[sides_2N],
            is_top1=torch.zeros_like(entropies_BC, dtype=torch.bool)[sides_2N],
        )
        rows = self._trl_rows(batch, sides_2N)
        # trl counts from 0 again in a run that is resumed; the state is kept in checkpoints
        self._total_train_tokens = self.state.num_input_tokens_seen
        loss = super()._compute_loss(lambda **_: scored, rows, False)
        self.state.num_input_tokens_seen = self._total_train_tokens
        if not self._loss.has_reference:
            loss = self._own_loss(logprobs_BC, batch)
        for name in _NOT_MEASURED:
            self._metrics["train" if self.model.training else "eval"].pop(name)
        self._clock.count(trained=int(batch.completion_mask_BC.sum()))
        self._vision.trained(len(batch.places))
        check_loss(loss, self.state.global_step, batch.names)
        return loss

    def _trl_rows(self, batch: PairBatch, sides_2N: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns what trl reads of a batch of rows, chosen before rejected.

        Of the prompt's tokens one stands there: logprobs are of the tokens behind it.
        """
        mask_BC = batch.completion_mask_BC
        of_prompt = mask_BC.new_zeros(len(sides_2N), 1)
        mask = torch.cat([of_prompt, mask_BC[sides_2N]], dim=1)
        chosen_N, rejected_N = self._reference_scores(batch).to(mask_BC.device)
        return {
            "input_ids": torch.zeros_like(mask),
            # of this one only the sum is read, for the number of tokens
            "attention_mask": (batch.prompt_lengths_B.to(mask.device) + mask_BC.sum(1))[sides_2N],
            "completion_mask": mask,
            "ref_chosen_logps": chosen_N,
            "ref_rejected_logps": rejected_N,
        }

    def _reference_scores(self, batch: PairBatch) -> torch.Tensor:
        """Returns (2, N): the reference's scores of chosen and rejected; 0 without a reference."""
        if self._reference is None:
            return torch.zeros(2, len(batch.places))
        weights_BC = batch.weights_BC.cpu()
        found = []
        for side, rows_N in enumerate((batch.chosen_N.tolist(), batch.rejected_N.tolist())):
            for row, place in zip(rows_N, batch.places, strict=True):
                # of a completion that is cut, the reference has more
                whole = self._reference[place][side]
                length = min(len(whole), weights_BC.shape[1])
                found.append(whole[:length] @ weights_BC[row, :length])
        return torch.stack(found).view(2, -1)

    def _own_loss(self, logprobs_BC: torch.Tensor, batch: PairBatch) -> torch.Tensor:
        """Returns the loss of a batch without a reference."""
        config, weights_BC = self._loss, batch.weights_BC
        means_B = preference_losses.mean_scores(logprobs_BC, weights_BC)
        chosen_N, rejected_N = means_B[batch.chosen_N], means_B[batch.rejected_N]
        if config.name == "orpo":
            return preference_losses.orpo_losses(chosen_N, rejected_N, self.beta).mean()
        if config.name == "simpo":
            gamma = config.simpo_gamma
            return preference_losses.simpo_losses(chosen_N, rejected_N, self.beta, gamma).mean()
        questions_N = batch.chosen_N // batch.group_size
        alignments = [
            preference_losses.aft_alignment(
                means_B[batch.chosen_N[questions_N == question].unique()],
                means_B[batch.rejected_N[questions_N == question].unique()],
                config.aft_alignment,
                config.aft_boundary,
            )
            for question in questions_N.unique()
        ]
        return torch.stack(alignments).mean() - chosen_N.mean()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs what trl logs of a step, and what steps cost."""
        usage = {**self._clock.take(), **self._vision.take()}
        if self.model.training and usage:
            logs.update(usage | peak_memory())
        super().log(logs, start_time)
