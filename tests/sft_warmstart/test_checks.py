"""What is refused before a stage starts: rows, processors, conversations; all of it at once."""

import copy
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from rl_avr.contracts import Annotation
from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.small_policy import build_small_policy
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_files import puzzle_row, write_rows
from sft_warmstart import checks
from sft_warmstart.checks import (
    NUM_FIRST,
    chain_problem,
    check_conversations,
    check_processor,
    check_puzzles,
    sampled_places,
)
from sft_warmstart.collator import ConversationCollator
from sft_warmstart.config import SftConfig
from sft_warmstart.records import Conversations

RENDER = RenderConfig(36)


def write(folder, puzzles, own):
    """Writes puzzles, and one of someone's own, which shows the first one's picture."""
    images = [render_png(puzzle, RENDER) for puzzle in puzzles]
    rows = zip([*puzzles, own], [*images, images[0]], strict=True)
    write_rows([puzzle_row(*row) for row in rows], folder / "train.parquet")


@pytest.fixture
def folder(tmp_path, puzzles, annotated):
    write(tmp_path, puzzles[:8], annotated())
    return tmp_path


def changed(folder, **columns):
    """Changes cells of the set: column -> row -> value."""
    path = folder / "train.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    for column, cells in columns.items():
        for index, value in cells.items():
            rows[index][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def test_a_sound_set_passes_and_gives_the_length_of_each_puzzle(folder, puzzles, annotated):
    expected = [len(puzzle.to_json()) for puzzle in (*puzzles[:8], annotated())]
    assert check_puzzles(DataConfig(path=str(folder))) == expected


def test_everything_wrong_with_rows_is_said_at_once(folder, annotated):
    wrong = annotated(chain="So it is D.\n### Answer: D")
    changed(
        folder,
        image={
            1: {"bytes": None, "path": None},
            2: {"bytes": None, "path": "gone.png"},
            5: {"bytes": None, "path": None},
        },
        puzzle={3: "{}", 8: wrong.to_json()},
    )
    with pytest.raises(DataError) as caught:
        check_puzzles(DataConfig(path=str(folder)))
    message = str(caught.value)
    assert "train.parquet: 5 of 9 rows cannot be trained on:" in message
    assert "row 2: column 'image'" in message and "'gone.png', where no file is" in message
    expected = "expected the bytes of an image or the path of one, got none"
    assert f"rows 1, 5: column 'image': {expected}" in message
    assert "row 3: column 'puzzle': not a puzzle: KeyError" in message
    assert "row 8: column 'puzzle': annotation.chain: expected it to end in the gold" in message
    assert "answer 'C', got 'D'" in message
    assert message.endswith("mend them where they were made, and make the set anew")


def test_a_set_without_images_is_named_with_its_column(folder):
    path = folder / "train.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["image"]), path)
    with pytest.raises(DataError, match=r"train\.parquet.*image"):
        check_puzzles(DataConfig(path=str(folder)))


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        ("It is round.", None),
        ("It is round.\n### Answer: C", None),
        ("It is round.\n### Answer: B", "got 'B'"),
        ("### Answer: C\n### Answer: C", "got several"),
        ("### Answer: the third", "got 'the third'"),
        (None, None),
    ],
)
def test_a_chain_s_own_answer_must_be_the_gold_one(annotated, chain, problem):
    found = chain_problem(annotated(chain=chain))
    assert (found is None) if problem is None else problem in found


def test_an_open_chain_s_answer_is_graded_as_its_kind(annotated):
    puzzle = annotated(choices=(), answer="4", chain="Four of them.\n### Answer: four")
    note = puzzle.annotation
    assert isinstance(note, Annotation)
    counted = replace(puzzle, annotation=replace(note, answer_kind="count"))
    assert chain_problem(counted) is None
    assert "got 'four'" in chain_problem(replace(counted, annotation=replace(note)))


def test_a_puzzle_with_a_state_has_no_chain_of_its_own(puzzle):
    assert chain_problem(puzzle) is None


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request):
    return build_small_policy(SmallPolicyConfig(family=request.param))


def test_a_family_s_own_processor_fits(policy):
    check_processor(*policy, "here")


def test_a_processor_of_other_patches_is_refused(policy):
    model, processor = policy
    small = {"patch_size_px": 9, "image_height_px": 90, "image_width_px": 72}
    _, other = build_small_policy(SmallPolicyConfig(family=model.config.model_type, **small))
    with pytest.raises(ConfigError, match=r"policy\.path here: its processor does not fit") as e:
        check_processor(model, other, "here")
    assert "vision_config." in str(e.value)
    assert str(e.value).endswith("from the checkpoint that the weights are of")


def test_all_misfits_are_named_at_once(policy):
    model, processor = copy.deepcopy(policy)
    processor.chat_template = processor.tokenizer.chat_template = None
    processor.image_token_id = 7
    model.resize_token_embeddings(64)
    with pytest.raises(ConfigError) as caught:
        check_processor(model, processor, "here")
    highest = max(processor.tokenizer.get_vocab().values())
    message = str(caught.value)
    assert "image token: the processor writes 7, the policy reads " in message
    assert f"vocabulary: the tokenizer has ids up to {highest}, the policy 64 emb" in message
    assert "chat template: there is none" in message


KINDS = ["perception"] * 30 + ["chain"] * 30 + ["replay"] * 20


@pytest.mark.parametrize("num_read", [256, 4])
def test_the_first_and_the_longest_of_each_kind_are_looked_at(monkeypatch, num_read):
    """The puzzle of row 25 is long, and the record of place 70."""
    monkeypatch.setattr(checks, "NUM_READ", num_read)

    def made(batch):
        long = [kind != "replay" and row == 25 for kind, row in zip(*batch.values(), strict=True)]
        long = [one or row == 70 for one, row in zip(long, batch["row"], strict=True)]
        return {"messages": [[{"content": "x" * (90 if one else 10)}] for one in long]}

    plan = {"kind": KINDS, "row": [*range(30), *range(30), *range(60, 80)]}
    rows = Dataset.from_dict(plan).with_transform(made)
    lengths = [10] * 80
    lengths[25] = 999
    places = sampled_places(rows, lengths)
    assert places[:16] == list(range(16))
    assert {25, 55} <= set(places)
    # found by its words alone, so where all are read
    assert (70 in places) is (num_read == 256)
    assert len(places) <= 16 + 3 * 8


def test_long_conversations_are_found_wherever_they_stand(folder, puzzles, annotated, processor):
    """The long chain is the last of the set and comes late in the run."""
    long = annotated(chain="It turns. " * 400)
    write(folder, puzzles[:60], long)
    data = DataConfig(path=str(folder))
    sft = SftConfig(stage="reasoning", mixture={"chain": 1.0})
    runs = (Conversations(data, sft, seed).rows(61) for seed in range(20))
    rows = next(run for run in runs if run.with_format(None)["row"].index(60) > NUM_FIRST)
    lengths = check_puzzles(data)
    collator = ConversationCollator(processor, 4096, "the context")
    check_conversations(rows, lengths, collator.conversation)
    short = ConversationCollator(processor, 600, "trainer.max_length")
    with pytest.raises(DataError) as caught:
        check_conversations(rows, lengths, short.conversation)
    message = str(caught.value)
    assert message.startswith("1 of ") and "train.parquet, row 60, chain: " in message
    assert "expected at most 600, trainer.max_length" in message


def test_all_conversations_that_cannot_be_trained_on_are_named(folder, processor):
    data = DataConfig(path=str(folder))
    rows = Conversations(data, SftConfig(), seed=0).rows(9)

    def tokenise(row):
        if "row 1," in row["name"] or "row 4," in row["name"]:
            raise DataError(f"{row['name']}: none of 3 tokens is the assistant's")

    with pytest.raises(DataError, match="2 of 9 conversations looked at") as caught:
        check_conversations(rows, check_puzzles(data), tokenise)
    assert str(caught.value).count("none of 3 tokens is the assistant's") == 2


def test_an_image_that_cannot_be_decoded_is_named(folder, processor):
    changed(folder, image={4: {"bytes": b"no png", "path": None}})
    data = DataConfig(path=str(folder))
    rows = Conversations(data, SftConfig(), seed=0).rows(9)
    collator = ConversationCollator(processor, 4096, "the context")
    with pytest.raises(DataError, match=r"train\.parquet, row 4: expected an image"):
        check_conversations(rows, check_puzzles(data), collator.conversation)
