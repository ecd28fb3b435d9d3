"""Two places where transformers' trainer does not go on from a checkpoint as it should.

It writes some policies under older names than those of their modules, and reads a checkpoint
by the names of the modules: of a Qwen2.5-VL not one weight comes back, and a warning is all
that says so. Here weights are read the way a policy is loaded. And a run that is resumed at its
last step would do one more.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rl_avr.errors import DataError
from rl_avr.modeling.adapters import has_adapters


class Resumable:
    """Stands before a transformers trainer among a class's bases.

    The weights of adapters and shards are left to transformers, which names them as they are.
    """

    def _run_epoch(self: Any, **kwargs: Any) -> None:
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(**kwargs)  # type: ignore[misc]

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled or has_adapters(self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        else:
            load_weights(self.accelerator.unwrap_model(self.model), resume_from_checkpoint)


def load_weights(model: Any, checkpoint: str | Path) -> None:
    """Puts every weight of a checkpoint into a policy without adapters.

    Args:
        model: the policy, unwrapped and whole on this rank.
        checkpoint: folder that `save_pretrained` wrote.

    Raises:
        DataError: a weight is missing, is not the policy's, or cannot be read.
    """
    try:
        saved, found = type(model).from_pretrained(
            checkpoint, dtype=model.dtype, output_loading_info=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            f"{checkpoint}: expected the weights of a policy; got: {error}; go on from another "
            "checkpoint, or set run.resume false"
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise DataError(
            f"{checkpoint}: expected every weight of {type(model).__name__}; {len(missing)} are "
            f"missing, first {missing[0]}; go on from another checkpoint, or set run.resume false"
        )
    model.load_state_dict(saved.state_dict())
