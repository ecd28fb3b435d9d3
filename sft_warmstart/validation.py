"""Accuracies during training, on puzzles that are not trained on; the run itself stays as it is.

    eval/perception_accuracy   fine questions, each asked alone, answered rightly
    eval/answer_accuracy       puzzles whose chain ends in the right answer
    eval/chain_perception      F1 of what the chains say about the panels, of puzzles with a state
    eval/parsed                chains that have every section, in order, and one answer

The policy that is trained answers, greedily. Each rank takes its share of the puzzles. wandb has
the same as bars with intervals, and right answers by configuration and kind of rule.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object
from tqdm import tqdm
from transformers import GenerationConfig, TrainerCallback
from trl.models.utils import unwrap_model_for_generation

from rewards.parts.choice import choice
from rewards.parts.perception import perception
from rl_avr.chat import banned_token_ids
from rl_avr.contracts import FinishReason, Prompt, Puzzle
from rl_avr.elicitation.forms import Question
from rl_avr.elicitation.grading import grade_answer
from rl_avr.elicitation.questions import elicitation
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError, DataError
from rl_avr.metric_names import ANSWER_ACCURACY, CHAIN_PERCEPTION, PARSED_SHARE, PERCEPTION_ACCURACY
from rl_avr.seeding import rng_for
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts
from rl_avr.training.run_folder import is_main_process
from rollouts.prompt_inputs import prompt_images
from sft_warmstart.config import SftConfig, ValidationConfig
from sft_warmstart.validation_panels import Answered, ChainValues, joined, log_panels
from sft_warmstart.warning_signs import warnings_of

logger = logging.getLogger(__name__)

_LONGEST_ANSWER = 64
"""Most tokens of an answer to a question; no gold answer is as long."""
_METRICS = (PERCEPTION_ACCURACY, ANSWER_ACCURACY, CHAIN_PERCEPTION, PARSED_SHARE)


class Asked(NamedTuple):
    """A puzzle as it is asked for a chain, and the questions about it."""

    prompt: Prompt
    questions: tuple[Question, ...]


def validation_puzzles(data: DataConfig, config: ValidationConfig) -> list[Asked]:
    """Returns the puzzles that are measured on, each with the same questions every time.

    Raises:
        ConfigError: they are those that are trained on.
        DataError: they cannot be read, there are too few, or none can be asked about.
    """
    if config.split == data.split:
        raise ConfigError(
            f"sft.validation.split {config.split}: expected another split than data.split, whose "
            "puzzles are trained on"
        )
    where = f"sft.validation.split {config.split}, num_puzzles {config.num_puzzles}"
    try:
        prompts = read_prompts(replace(data, split=config.split, num_puzzles=config.num_puzzles))
    except DataError as error:
        raise DataError(f"{where}: {error}; or set sft.validation.every_steps 0") from error
    asked = [Asked(prompt, _questions(prompt, config.num_questions)) for prompt in prompts]
    if not any(one.questions for one in asked):
        raise DataError(
            f"{where}: no puzzle can be asked what is seen, which needs a state or people's own "
            "perception questions; take other puzzles, or set sft.validation.every_steps 0"
        )
    return asked


def _questions(prompt: Prompt, num: int) -> tuple[Question, ...]:
    """Returns fine questions; the puzzle's id decides which."""
    puzzle = prompt.puzzle
    return elicitation(puzzle, num, rng_for("validation", puzzle.puzzle_id), num_coarse=0)


class Validation(TrainerCallback):
    """Measures before the first step, every few steps and after the last one.

    The measurements go where the trainer's own metrics go, and warnings with them: each
    is said once in a run, also in one that was resumed. Random states and the modes of the
    policy's layers are after a measurement what they were before.

    Args:
        trainer: trl's trainer, whose policy is measured.
        asked: the puzzles.
        sft: how often, and when a warning is due.
    """

    def __init__(self, trainer: Any, asked: Sequence[Asked], sft: SftConfig) -> None:
        self._trainer = trainer
        self._asked = asked
        self._sft = sft

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measures what the others are compared with."""
        if state.global_step == 0:
            self._measure()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measures where it is time, and where the run ends."""
        is_last = control.should_training_stop or state.global_step >= state.max_steps
        if is_last or state.global_step % self._sft.validation.every_steps == 0:
            self._measure()

    def _measure(self) -> None:
        trainer = self._trainer
        accelerator, args = trainer.accelerator, trainer.args
        rank, num_ranks = accelerator.process_index, accelerator.num_processes
        wrapped, kwargs = trainer.model_wrapped, args.gradient_checkpointing_kwargs
        with (
            as_it_was(trainer.model),
            unwrap_model_for_generation(
                wrapped, accelerator, gradient_checkpointing_kwargs=kwargs
            ) as model,
        ):
            own = answered(
                model.eval(),
                trainer.processing_class,
                self._asked[rank::num_ranks],
                self._sft.validation.max_new_tokens,
                args.per_device_eval_batch_size,
            )
            found = joined(gather_object([own]))
            sums = found.totals.tolist()
            metrics = {
                name: total / num for name, (total, num) in zip(_METRICS, sums, strict=True) if num
            }
            if "wandb" in args.report_to and trainer.is_world_process_zero():
                log_panels(found, trainer.state.global_step)
            is_due = trainer.control.should_log
            # in training mode the trainer would add what it has of its steps
            trainer.log({**metrics, **self._warnings(metrics)})
            # which counts as the step's own log
            trainer.control.should_log = is_due

    def _warnings(self, metrics: dict[str, float]) -> dict[str, float]:
        """Returns metric -> 1 or 0, and says what was not said before."""
        history, step = self._trainer.state.log_history, self._trainer.state.global_step
        found = warnings_of(
            [*history, {**metrics, "step": step}],
            sum(len(one.questions) for one in self._asked),
            self._sft.validation.patience,
            self._sft.elicitation.order == "sequential",
        )
        for name, words in found.items():
            if (
                words
                and not any(row.get(name) for row in history)
                and self._trainer.is_world_process_zero()
            ):
                logger.warning("step %d: %s", step, words)
        return {name: float(words is not None) for name, words in found.items()}


def answered(
    model: Any, processor: Any, asked: Sequence[Asked], max_new_tokens: int, batch_size: int
) -> Answered:
    """Returns what a policy's answers are worth.

    Args:
        model: the policy, unwrapped and whole, in evaluation mode.
        processor: its processor.
        asked: the puzzles.
        max_new_tokens: most tokens of a chain.
        batch_size: prompts that are answered at once.
    """
    pairs = [(one.prompt, question) for one in asked for question in one.questions]
    questions = [replace(prompt, kind="perception", text=q.text) for prompt, q in pairs]
    chains = [one.prompt for one in asked]
    num = len(questions) + len(chains)
    with tqdm(total=num, desc="validation", leave=False, disable=not is_main_process()) as bar:
        write = GreedyWriter(model, processor, batch_size, bar)
        short = list(write.answers(questions, min(max_new_tokens, _LONGEST_ANSWER)))
        long = list(write.answers(chains, max_new_tokens))
    right = (grade_answer(q, text) for (_, q), (text, _) in zip(pairs, short, strict=True))
    values = (_chain_values(prompt.puzzle, *out) for prompt, out in zip(chains, long, strict=True))
    return Answered(tuple(right), tuple(values))


def _chain_values(puzzle: Puzzle, text: str, finish_reason: FinishReason) -> ChainValues:
    parsed = read(text, puzzle, finish_reason)
    is_right = choice(parsed, puzzle) == 1.0
    return ChainValues(puzzle, is_right, perception(parsed, puzzle), parsed.status == "ok")


class GreedyWriter:
    """Greedy answers of a policy, several prompts at once."""

    def __init__(self, model: Any, processor: Any, batch_size: int, bar: Any) -> None:
        self._model = model
        self._processor = processor
        self._batch_size = batch_size
        self._bar = bar
        tokenizer, own = processor.tokenizer, model.generation_config.eos_token_id
        self._ends = [own] if isinstance(own, int) else list(own or [tokenizer.eos_token_id])
        # all that a checkpoint's own config could bend is said
        self._config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            use_cache=True,
            suppress_tokens=list(banned_token_ids(processor)),
            eos_token_id=self._ends,
            pad_token_id=tokenizer.pad_token_id,
        )

    @torch.no_grad()
    def answers(
        self, prompts: Sequence[Prompt], max_new_tokens: int
    ) -> Iterator[tuple[str, FinishReason]]:
        """Yields text and reason of its end, one a prompt."""
        self._config.max_new_tokens = max_new_tokens
        for start in range(0, len(prompts), self._batch_size):
            inputs = self._inputs(prompts[start : start + self._batch_size])
            ids = self._model.generate(**inputs, generation_config=self._config)
            new = ids[:, inputs["input_ids"].shape[1] :].tolist()
            self._bar.update(len(new))
            yield from map(self._answer, new)

    def _inputs(self, prompts: Sequence[Prompt]) -> Any:
        """Returns the processor's tensors of several prompts, padded on the left."""
        conversations = []
        for prompt in prompts:
            images = [{"type": "image", "image": image} for image in prompt_images(prompt)]
            content = [*images, {"type": "text", "text": prompt.text}]
            conversations.append([{"role": "user", "content": content}])
        inputs = self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
        return inputs.to(self._model.device)

    def _answer(self, ids: list[int]) -> tuple[str, FinishReason]:
        end = next((i for i, token in enumerate(ids) if token in self._ends), None)
        text = self._processor.tokenizer.decode(ids[:end], skip_special_tokens=True)
        return text, "length" if end is None else "stop"


@contextmanager
def as_it_was(model: torch.nn.Module) -> Iterator[None]:
    """Puts random states and every layer's mode back at its end."""
    states = random.getstate(), np.random.get_state()
    modes = {layer: layer.training for layer in model.modules()}
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        yield
    for layer, mode in modes.items():
        layer.training = mode
    random.setstate(states[0])
    np.random.set_state(states[1])
