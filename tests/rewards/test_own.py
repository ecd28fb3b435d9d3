"""The user's own rewards: good functions are heard, bad ones lose only their sample."""

import functools
import logging
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rewards.config import OwnConfig
from rewards.own import OwnRewards, OwnSample
from rewards.own_loading import form_of, load
from rewards.own_pool import Job, Lost, WorkerPool
from rewards.own_worker import verdict
from rl_avr.errors import ConfigError, RewardError

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(__file__).with_name("own_examples.py")
DOCS = ROOT / "docs" / "own_reward.py"


def at(name, file=EXAMPLES):
    return f"{file}:{name}"


def own(*names, time_limit_s=20.0, num_workers=2, max_failed_share=1.0):
    return OwnRewards(map(at, names), OwnConfig(time_limit_s, num_workers, max_failed_share))


def samples(*completions, **columns):
    columns = {"prompt_id": "p-1", "answer": "a", "num_tokens": 2} | columns
    return [OwnSample("why", completion, columns) for completion in completions]


def workers():
    found = multiprocessing.active_children()
    return {p.pid for p in found if p.name == "pebble_pool_worker"}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pids):
    for _ in range(200):
        if not any(map(is_alive, pids)):
            return True
        time.sleep(0.05)
    return False


# --- functions as they should be


@pytest.fixture(scope="module")
def good():
    names = ("per_sample", "per_sample_async", "batched", "batched_async", "everything", "instance")
    with own(*names) as rewards:
        yield rewards


def test_good_functions_of_every_form(good, caplog):
    given = [
        OwnSample("1", "1", {"prompt_id": "p", "answer": "", "num_tokens": 8}),
        OwnSample("0", "0.1", {"prompt_id": "p", "answer": ".1", "num_tokens": 14}),
        OwnSample("why", "0.5", {"prompt_id": "q", "answer": "", "num_tokens": 100}),
    ]
    assert good.score(given) == {
        # characters of prompt and completion and tokens, divided by 20
        "per_sample": [0.5, 0.9, 1.0],
        "per_sample_async": [1.0, 0.1, 0.5],
        "batched": [1.0, 1.0, 0.0],
        # the three columns and prompts; without the completions, which it names
        "batched_async": [0.4, 0.4, 0.4],
        "everything": [0.4, 0.4, 0.4],
        "instance": [0.25, 0.25, 0.25],
    }
    assert good.names == tuple(good.score([]))
    assert not caplog.records


def test_the_order_is_that_of_the_samples(good):
    texts = [f"0.{i:03}" for i in range(80)]
    found = good.score(samples(*texts))["per_sample_async"]
    assert found == [float(text) for text in texts]


def test_no_sample_is_no_value(good):
    assert set(map(len, good.score([]).values())) == {0}


def test_no_function_needs_no_process():
    before = workers()
    with OwnRewards({}, OwnConfig()) as rewards:
        assert rewards.score(samples("x")) == {}
        assert workers() == before


def test_a_column_that_is_missing_or_cannot_travel(good):
    with pytest.raises(RewardError, match=r"asks for the column 'num_tokens', and sample 0 has"):
        good.score([OwnSample("p", "c", {"answer": "a"})])
    with pytest.raises(RewardError, match=r"samples 0 to 0 have a column that cannot be sent"):
        good.score(samples("0", num_tokens=lambda: 1))
    # and goes on working
    assert good.score(samples("0"))["instance"] == [0.25]


class Unreadable:
    """Can be pickled and not read again."""

    def __reduce__(self):
        return math.sqrt, (-1,)


def test_a_column_that_cannot_be_read_in_the_worker_is_a_failure(good, caplog):
    found = good.score(samples("0", "0") + samples("0.5", answer=Unreadable()))
    # the functions that do not ask for it never see it
    assert found["per_sample_async"] == [0.0, 0.0, 0.5]
    assert found["batched"] == [0.0, 0.0, None]
    assert found["everything"] == [0.4, 0.4, None]
    assert "cannot be read in a worker: ValueError: math domain error" in caplog.text


def test_a_puzzle_travels(puzzle):
    with own("with_puzzle", num_workers=1) as rewards:
        assert rewards.score(samples("C", "D", puzzle=puzzle)) == {"with_puzzle": [1.0, 0.0]}


def test_lists_are_at_most_32_long():
    with own("batch_size", num_workers=1) as rewards:
        sizes = rewards.score(samples(*"x" * 70))["batch_size"]
    assert sizes == pytest.approx([0.32] * 64 + [0.06] * 6)


def test_the_examples_of_the_documentation(puzzle, annotated):
    names = ("brevity", "names_the_answer", "judged_elsewhere", "counts_panels")
    columns = {"prompt_id": "p", "kind": "cot", "finish_reason": "stop"}
    given = [
        OwnSample(
            "p", "so\nit is C", {**columns, "answer": "C", "puzzle": puzzle, "num_tokens": 4}
        ),
        OwnSample("p", "", {**columns, "answer": "C", "puzzle": annotated(), "num_tokens": None}),
    ]
    with OwnRewards([at(name, DOCS) for name in names], OwnConfig(20, 1, 0.0)) as rewards:
        assert rewards.score(given) == {
            "brevity": [0.99, 1.0],
            "names_the_answer": [1.0, 0.0],
            "judged_elsewhere": [1.0, None],
            # two lines for eight panels
            "counts_panels": [pytest.approx(1 / 7), None],
        }


# --- values

NUMBERS = {
    "true": 1.0,
    "false": 0.0,
    "one": 1.0,
    "half": 0.5,
    "numpy": 0.5,
    "numpy_bool": 1.0,
    "array": 0.5,
    "tensor": 0.5,
    "decimal": 0.5,
    "rounded": 1.0,
    "none": None,
}
NO_NUMBERS = {
    "nan": "returned nan",
    "inf": r"returned inf, outside [0, 1]",
    "above": r"returned 1.5, outside [0, 1]",
    "below": r"returned -0.5, outside [0, 1]",
    "huge": "returned a number too large for [0, 1]",
    "text": "returned '0.5' (str), no number",
    "list": "returned a value of type list, no number",
    "odd": "returned a value of type Odd, no number",
    "complex": "returned a value of type complex, no number",
    "function": "returned a value of type function, no number",
    "generator": "returned a value of type generator, no number",
}


@pytest.fixture(scope="module")
def values():
    """Value and warnings of every key of NUMBERS and NO_NUMBERS, one call for each."""
    keys = [*NUMBERS, *NO_NUMBERS]
    handler = _Kept()
    logging.getLogger("rewards.own").addHandler(handler)
    with own("value", num_workers=1) as rewards:
        found = {}
        for key in keys:
            handler.texts.clear()
            (value,) = rewards.score(samples(key))["value"]
            found[key] = value, "\n".join(handler.texts)
    logging.getLogger("rewards.own").removeHandler(handler)
    return found


class _Kept(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@pytest.mark.parametrize(("key", "expected"), NUMBERS.items())
def test_what_is_a_number(values, key, expected):
    assert values[key] == (expected, "")


@pytest.mark.parametrize(("key", "reason"), NO_NUMBERS.items())
def test_what_is_none(values, key, reason):
    value, text = values[key]
    assert value is None
    assert text == (
        "own reward value: 1 of 1 completions have no score\n"
        f"  sample 0 (prompt p-1, {key!r}): {reason}"
    )


def test_zero_has_no_sign():
    assert math.copysign(1, verdict(-0.0)[0]) == 1


# --- functions as they should not be

BAD = ("bad", "bad_async", "bad_batch")
REASONS = {
    "sleep": "no answer within 0.5 s",
    "exit": "its process ended with exit code 3",
    "leave": f"SystemExit: 0 ({EXAMPLES}:{{line}}: sys.exit(0))",
    "segfault": "its process was killed by SIGSEGV",
    "memory": "its process was killed by SIGKILL, perhaps because memory ran out",
    "raise": f'ValueError: two lines ({EXAMPLES}:{{line}}: raise ValueError("two\\nlines"))',
    "interrupt": f"KeyboardInterrupt ({EXAMPLES}:{{line}}: raise KeyboardInterrupt)",
    "nan": "returned nan",
}


def with_line(reason):
    """Fills in where the code that a reason quotes stands."""
    code = reason.rpartition("{line}: ")[2][:-1]
    lines = [line.strip() for line in EXAMPLES.read_text().splitlines()]
    return reason.format(line=lines.index(code) + 1) if "{line}" in reason else reason


@pytest.fixture(scope="module")
def bad():
    """What functions of three forms make of three groups of samples, and the warnings."""
    handler = _Kept()
    logging.getLogger("rewards.own").addHandler(handler)
    words = list(REASONS)
    with own(*BAD, time_limit_s=0.5) as rewards:
        found = [rewards.score(samples("ok", *words[i : i + 3], "ok")) for i in (0, 3, 6)]
    logging.getLogger("rewards.own").removeHandler(handler)
    return found, handler.texts


@pytest.mark.parametrize("name", BAD)
def test_only_the_bad_samples_lose_their_score(bad, name):
    found, _ = bad
    three = [1.0, None, None, None, 1.0]
    assert [one[name] for one in found] == [three, three, [1.0, None, None, 1.0]]


@pytest.mark.parametrize("name", BAD)
def test_the_log_names_function_sample_and_reason(bad, name):
    _, texts = bad
    words = list(REASONS)
    told = [
        f"  sample {i % 3 + 1} (prompt p-1, {word!r}): {with_line(REASONS[word])}"
        for i, word in enumerate(words)
    ]
    heads = [f"own reward {name}: {n} of {n + 2} completions have no score" for n in (3, 3, 2)]
    expected = ["\n".join([head, *told[3 * i : 3 * i + 3]]) for i, head in enumerate(heads)]
    assert [text for text in texts if text.startswith(f"own reward {name}:")] == expected


def test_a_regex_and_a_coroutine_that_hang(caplog):
    with own("bad", "bad_async", time_limit_s=0.5) as rewards:
        before = workers()
        assert rewards.score(samples("wait", "ok")) == {"bad": [1.0, 1.0], "bad_async": [None, 1.0]}
        # the loop ended it, so no process had to
        assert workers() == before
        assert "sample 0 (prompt p-1, 'wait'): no answer within 0.5 s" in caplog.text
        found = rewards.score(samples("regex", "ok", "ok"))
        assert found == {"bad": [None, 1.0, 1.0], "bad_async": [None, 1.0, 1.0]}


def test_a_list_of_another_length(caplog):
    with own("wrong_length", "no_end", "no_list") as rewards:
        found = rewards.score(samples("a", "drop", "b"))
    assert found == {
        "wrong_length": [1.0, None, 1.0],
        "no_end": [None] * 3,
        "no_list": [None] * 3,
    }
    assert "sample 1 (prompt p-1, 'drop'): returned 0 values; expected a list of 1" in caplog.text
    assert "returned more values; expected a list of 1" in caplog.text
    assert "returned a value of type str; expected a list of 1" in caplog.text


def test_too_many_failures_stop_the_run(caplog):
    with own("bad", max_failed_share=0.25) as rewards:
        assert rewards.score(samples("ok", "raise", "ok", "ok"))["bad"] == [1.0, None, 1.0, 1.0]
        with pytest.raises(RewardError) as caught:
            rewards.score(samples("nan", "ok", "ok", "nan"))
        for part in (at("bad"), "25%", "2 of 4 = 50%", "2 x returned nan", "own_limits", "None"):
            assert part in str(caught.value)
        assert "own reward bad: 2 of 4" in caplog.text
        # a later call is a new one
        assert rewards.score(samples("ok"))["bad"] == [1.0]


def test_a_function_that_always_hangs_is_given_up_early():
    # with two workers, all of them would take 30 s
    expected = r"at least 3 of 200 = 2%; .* no answer within 0.3 s"
    with (
        own("sleeps", time_limit_s=0.3, max_failed_share=0.01) as rewards,
        pytest.raises(RewardError, match=expected),
    ):
        rewards.score(samples(*"x" * 200))


def test_the_log_shows_three_and_counts_the_rest(caplog):
    with own("wrong_length", num_workers=1) as rewards:
        rewards.score(samples(*["drop"] * 5, "ok"))
    lines = caplog.messages[0].splitlines()
    assert lines[0] == "own reward wrong_length: 5 of 6 completions have no score"
    assert [line[:10] for line in lines[1:]] == [
        "  sample 0",
        "  sample 1",
        "  sample 2",
        "  and 2 mo",
    ]


def test_none_on_purpose_is_no_failure(caplog):
    with own("value", max_failed_share=0.0, num_workers=1) as rewards:
        assert rewards.score(samples("none", "none", "half"))["value"] == [None, None, 0.5]
    assert not caplog.records


def test_prints_stay_away_from_stdout(capfd):
    with own("prints", num_workers=1) as rewards:
        assert rewards.score(samples("half a pair \ud800"))["prints"] == [1.0]
    out, err = capfd.readouterr()
    assert out == ""
    assert "printed by a reward half a pair \\ud800" in err
    assert "written by a reward" in err


# --- the life of the processes


def test_close_ends_every_process():
    before = workers()
    rewards = own("sleeps", time_limit_s=0.3, num_workers=3)
    pids = workers() - before
    assert len(pids) == 3
    rewards.close()
    rewards.close()
    assert not any(map(is_alive, pids))
    assert workers() == before
    with pytest.raises(RewardError, match="closed"):
        rewards.score(samples("x"))


@pytest.fixture
def interruptible():
    """A shell starts processes in the background with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_every_process(interruptible):
    before = workers()
    with own("sleeps") as rewards:
        pids = workers() - before
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            rewards.score(samples("x", "y"))
        assert pids
        assert not any(map(is_alive, pids))


def test_workers_outlive_the_thread_that_made_them():
    made = []
    thread = threading.Thread(target=lambda: made.append(own("same_process", num_workers=1)))
    thread.start()
    thread.join()
    with made[0] as rewards:
        pids = workers()
        time.sleep(0.3)
        assert workers() == pids
        (first, second) = (rewards.score(samples("x")) for _ in range(2))
        assert first == second


SCRIPT = """
import multiprocessing, sys
from rewards.config import OwnConfig
from rewards.own import OwnRewards, OwnSample

if __name__ == "__main__":
    rewards = OwnRewards([sys.argv[1]], OwnConfig())
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    rewards.score([OwnSample("p", sys.argv[2], {})] * 2)
"""


@pytest.fixture
def run(tmp_path):
    """Starts a script that scores two samples and never closes; returns it and its workers."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)

    def start(completion):
        parent = subprocess.Popen(
            [sys.executable, script, at("bad"), completion],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert parent.stdout is not None
        return parent, [int(pid) for pid in parent.stdout.readline().split()]

    return start


def test_a_killed_parent_leaves_no_worker(run):
    # while it matches, no thread of the worker can run
    parent, pids = run("regex")
    time.sleep(0.3)
    assert pids and all(map(is_alive, pids))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_for_end(pids)


def test_a_parent_that_forgets_to_close_ends(run):
    parent, pids = run("ok")
    parent.stdout.close()
    assert parent.wait(60) == 0
    assert wait_for_end(pids)


def end_soon():
    threading.Timer(0.2, os._exit, (1,)).start()


def end_now(*args):
    os._exit(1)


def test_a_process_that_ends_between_two_calls_is_replaced():
    pool = WorkerPool(1, os.getpid, ())
    try:
        assert list(pool.run([Job(end_soon, (), 5)])) == [None]
        time.sleep(0.7)
        assert list(pool.run([Job(abs, (-1,), 5), Job(abs, (-2,), 5)])) == [1, 2]
        assert list(pool.run([Job(end_now, (), 5)])) == [Lost("its process ended with exit code 1")]
    finally:
        pool.stop()


@pytest.mark.parametrize("initializer", [end_now, functools.partial(time.sleep, 60)])
def test_processes_that_never_begin_are_given_up(initializer):
    pool = WorkerPool(1, initializer, (), start_limit_s=0.3)
    try:
        with pytest.raises(RewardError, match="end before they answer"):
            list(pool.run([Job(abs, (-1,), 0.1)]))
    finally:
        pool.stop()


# --- paths


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["brevity"], "own.brevity: expected `package.module:name` or `path/to/file.py:name`"),
        ([":brevity"], "expected `package.module:name`"),
        (["my.rewards:"], "expected `package.module:name`"),
        ([f"{EXAMPLES.parent}/own_exampels.py:bad"], "the nearest are .*own_examples.py"),
        (["no/such/folder.py:bad"], "there is no file .*no .py is beside it"),
        ([f"{EXAMPLES.parent}/own_examples:bad"], "expected a file with the ending .py"),
        ([at("choice")], "the name 'choice' is that of a part"),
        ([at("total")], "the name 'total' is that of a part"),
        ([at("bad"), "another.module:bad"], "got 'bad' as of own.*own_examples.py:bad; rename"),
    ],
)
def test_paths_that_cannot_be_right(paths, expected):
    with pytest.raises(ConfigError, match=expected):
        OwnRewards(paths, OwnConfig())


FILES = {
    "missing.py": "import math\n\nimport not_a_module_at_all\n",
    "syntax.py": "def f(completion):\n    return 1 +\n",
    "raises.py": "def inner():\n    return 1 / 0\n\n\nVALUE = inner()\n",
    "leaves.py": "import sys\n\nsys.exit('usage: leaves.py FILE')\n",
    "empty.py": "",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (at("bda"), "expected a function 'bda' in .*; the nearest are bad"),
        (at("not_a_function"), "expected a function, got a value of type int"),
        (at("ARewardClass"), "expected a function, got a class"),
        (at("neither"), r"expected a parameter `completions` .* got \(text\)"),
        (at("both"), r"not both, each passed by its name; got \(completion, completions\)"),
        (at("by_position"), r"each passed by its name"),
        (
            at("unknown_column"),
            "parameter 'anser' .* by name there are prompt, completion, prompt_id, puzzle, "
            "answer, kind, finish_reason, num_tokens; the nearest is answer",
        ),
        (
            "rewards.copmosition:score",
            "no module 'rewards.copmosition'; the nearest are .*rewards.com",
        ),
        ("no_such_package.module:f", "there is no module 'no_such_package'"),
        ("{folder}/missing.py:f", r"failed: ModuleNotFoundError: .*missing.py:3: import not_a_mod"),
        ("{folder}/syntax.py:f", r"failed: SyntaxError: .*syntax.py:2: return 1 \+"),
        ("{folder}/raises.py:f", r"failed: ZeroDivisionError: .*raises.py:2: return 1 / 0"),
        ("{folder}/leaves.py:f", r"failed: SystemExit: usage: .*leaves.py:3: sys.exit"),
        ("{folder}/empty.py:f", "expected a function 'f' in .*; it has no function"),
    ],
)
def test_paths_that_cannot_be_loaded(folder, path, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        load(path.format(folder=folder))
    assert str(caught.value).startswith(f"own.{path.format(folder=folder)}: ")


def test_what_a_worker_cannot_load_is_told_at_construction(folder):
    before = workers()
    with pytest.raises(ConfigError, match=r"raises.py:2: return 1 / 0.*; own.*'bda'"):
        OwnRewards([f"{folder}/raises.py:f", at("bda"), at("bad")], OwnConfig())
    assert workers() == before


def test_a_module_that_ends_its_process_is_told_at_construction(tmp_path):
    file = tmp_path / "ends.py"
    file.write_text("import os\n\nos._exit(7)\n")
    with pytest.raises(ConfigError, match=r"importing .*ends.py:f: .*end before they answer"):
        OwnRewards([f"{file}:f"], OwnConfig(num_workers=1))


def test_a_module_of_the_current_folder_and_what_lies_beside_a_file(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "beside_it.py").write_text("HALF = 0.5\n")
    (tmp_path / "inside" / "mine.py").write_text(
        "from beside_it import HALF\n\n\ndef half(completion):\n    return HALF\n"
    )
    (tmp_path / "here.py").write_text(
        "from pathlib import Path\n\n\n"
        "def is_here(completion):\n    return Path('inside').is_dir()\n"
    )
    monkeypatch.chdir(tmp_path)
    with OwnRewards(["here:is_here", "inside/mine.py:half"], OwnConfig()) as rewards:
        assert rewards.score(samples("x")) == {"is_here": [1.0], "half": [0.5]}


def test_the_time_to_import_is_not_a_samples_time(tmp_path):
    file = tmp_path / "slow.py"
    file.write_text(
        "import os, time\n\ntime.sleep(0.8)\n\n\n"
        "def f(completion):\n    return os._exit(1) if completion == 'exit' else 1.0\n"
    )
    with OwnRewards([f"{file}:f"], OwnConfig(0.3, 1, 1.0)) as rewards:
        # the process that replaces the one that ended imports the file again
        assert rewards.score(samples("ok", "exit", "ok"))["f"] == [1.0, None, 1.0]


def test_forms():
    def first(completions, prompts=None, kind=(), **columns):
        return []

    async def second(completion, other=3):
        return 1.0

    form = form_of("m:first", first)
    assert (form.is_batched, form.is_async, form.takes_all) == (True, False, True)
    assert form.named == ("completion", "prompt", "kind")
    assert form.required == ("completion",)
    form = form_of("m:second", functools.partial(second))
    assert (form.is_batched, form.is_async, form.takes_all) == (False, True, False)
    assert pickle.loads(pickle.dumps(form)) == form
