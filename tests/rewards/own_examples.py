"""Reward functions that are good, bad and worse; the tests run them in worker processes.

What a sample makes them do stands in its completion.
"""

import asyncio
import ctypes
import decimal
import functools
import os
import re
import signal
import sys
import time

not_a_function = 3


class ARewardClass:
    pass


class Instance:
    def __call__(self, completion):
        return 0.25


instance = Instance()


# --- good


def per_sample(prompt, completion, num_tokens, *, weight=2.0):
    return min(1.0, (len(prompt) + len(completion) + num_tokens) / (10 * weight))


async def per_sample_async(completion):
    await asyncio.sleep(float(completion))
    return float(completion)


def batched(prompts, completions, answer):
    return [float(c == p + a) for p, c, a in zip(prompts, completions, answer, strict=True)]


async def batched_async(completions, **columns):
    await asyncio.sleep(0)
    assert all(len(column) == len(completions) for column in columns.values())
    return (len(columns) / 10 for _ in completions)


def everything(completion, **columns):
    return len(columns) / 10


def with_puzzle(completion, puzzle):
    return float(completion == puzzle.answer_letter)


def batch_size(completions):
    import numpy as np

    return np.full(len(completions), len(completions) / 100)


def same_process(completion):
    return (os.getpid() % 1000) / 1000


# --- one value of each kind


class Odd:
    def __float__(self):
        raise LookupError("no float in here")


class Tensor:
    """Stands for a tensor of one element: a thing that float() works on."""

    def __float__(self):
        return 0.5


@functools.cache
def values():
    # every process that replaces another imports this file: numpy only where it is needed
    import numpy as np

    return {
        "true": True,
        "false": False,
        "one": 1,
        "half": 0.5,
        "numpy": np.float32(0.5),
        "numpy_bool": np.True_,
        "array": np.array(0.5),
        "tensor": Tensor(),
        "decimal": decimal.Decimal("0.5"),
        "rounded": 1 + 1e-9,
        "none": None,
        "nan": float("nan"),
        "inf": float("inf"),
        "above": 1.5,
        "below": -0.5,
        "huge": 10**400,
        "text": "0.5",
        "list": [0.5],
        "odd": Odd(),
        "complex": 1j,
        "function": lambda: 0.5,
        "generator": (x for x in (1,)),
    }


def value(completion):
    return values()[completion]


# --- bad


def misbehave(completion):
    if completion == "sleep":
        time.sleep(60)
    elif completion == "regex":
        re.match(r"(a+)+$", "a" * 40 + "b")
    elif completion == "exit":
        os._exit(3)
    elif completion == "leave":
        sys.exit(0)
    elif completion == "interrupt":
        raise KeyboardInterrupt
    elif completion == "segfault":
        ctypes.string_at(0)
    elif completion == "memory":
        # what the kernel does when memory runs out
        os.kill(os.getpid(), signal.SIGKILL)
    elif completion == "raise":
        raise ValueError("two\nlines")
    elif completion == "nan":
        return float("nan")
    return 1.0


def bad(completion):
    return misbehave(completion)


async def bad_async(completion):
    if completion == "wait":
        await asyncio.sleep(60)
    await asyncio.sleep(0)
    return misbehave(completion)


def bad_batch(completions):
    return [misbehave(completion) for completion in completions]


def wrong_length(completions):
    return [1.0 for completion in completions if completion != "drop"]


def no_end(completions):
    while True:
        yield 1.0


def no_list(completions):
    return "1"


def prints(completion):
    print("printed by a reward", completion, flush=True)
    os.write(1, b"written by a reward\n")
    return 1.0


def sleeps(completion):
    time.sleep(60)


# --- signatures that cannot be used


def neither(text):
    return 1.0


def both(completion, completions):
    return 1.0


def unknown_column(completion, anser):
    return 1.0


def by_position(completion, /):
    return 1.0


def choice(completion):
    return 1.0


def total(completion):
    return 1.0
