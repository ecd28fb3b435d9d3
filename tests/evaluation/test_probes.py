"""Probes change what they say and nothing else; images are compared pixel by pixel."""

import io
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from rl_avr.contracts import Prompt
from rl_avr.errors import ConfigError
from rl_avr.evaluation.labels import LABELS, labelled_text
from rl_avr.evaluation.panel_images import DrawnImages, Look, draw_images
from rl_avr.evaluation.paraphrases import NUM_WORDINGS, paraphrases
from rl_avr.evaluation.probes import PROBES, probed
from rl_avr.evaluation.problems import Problem, Refused
from rl_avr.evaluation.redrawing import own_render, permuted
from rl_avr.evaluation.twins import perturbed_twin
from rl_avr.prompts import TAG_REQUEST, answer_form_of, prompt_text
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.nonregular.layouts import LAYOUTS
from rl_avr.puzzles.panels import render_panels
from rl_avr.puzzles.render import render_png, render_puzzle

SMALL = RenderConfig(panel_size_px=32)


def pixels(image):
    return np.asarray(Image.open(io.BytesIO(image)).convert("L"))


def own(puzzle, render=SMALL):
    """A problem whose image our renderer drew."""
    text = prompt_text(puzzle, "cot")
    prompt = Prompt(f"{puzzle.puzzle_id}/cot", puzzle, "cot", text, (render_png(puzzle, render),))
    return Problem(prompt, (("benchmark", "ours"),))


def filed(puzzle, image="composed", labels="letters"):
    """A problem whose panels stand in a file."""
    look = Look(image, labels, 32, puzzle.configuration)
    panels = partial(render_panels, puzzle)
    text = labelled_text(puzzle, "cot", "mark", labels)
    prompt = Prompt("filed/cot", puzzle, "cot", text, DrawnImages(panels, look))
    return Problem(prompt, (), labels, panels)


def only(problem, probe, seed=0):
    _, found = probed([problem], [probe], seed)
    assert isinstance(found, Problem)
    return found


def test_a_blind_problem_shows_the_choices_alone(puzzle):
    for problem in (own(puzzle), filed(puzzle)):
        before = pixels(problem.prompt.images[0])
        blind = only(problem, "context_blind")
        (after,) = map(pixels, blind.prompt.images)
        cells = np.s_[: 3 * 32, : 3 * 32]
        assert (after[3 * 32 :] == before[3 * 32 :]).all()
        assert not (after[cells] == before[cells]).all()
        assert blind.prompt.puzzle == puzzle and blind.prompt.text == problem.prompt.text
    # nothing of the context is left, whatever it was
    other, _ = perturbed_twin(puzzle)
    for make in (own, filed):
        one, two = (only(make(p), "context_blind").prompt.images for p in (puzzle, other))
        assert tuple(one) == tuple(two)


def test_a_blind_problem_of_separate_panels_has_white_context(puzzle):
    problem = filed(puzzle, image="panels")
    before, after = problem.prompt.images, only(problem, "context_blind").prompt.images
    assert tuple(after)[8:] == tuple(before)[8:]
    assert len({*after[:8]}) == 1


@pytest.mark.parametrize("make", [own, filed])
def test_permuted_choices_move_pixels_answer_and_state_together(puzzle, make):
    problem = make(puzzle)
    moved = only(problem, "choices_permuted")
    order = tuple(map(int, moved.values("order")[0].split()))
    changed = moved.prompt.puzzle
    assert sorted(order) == list(range(8)) and order != tuple(range(8))
    assert changed.answer == puzzle.answer
    assert changed.answer_index != puzzle.answer_index
    assert changed.choices == tuple(puzzle.choices[k] for k in order)
    # drawn as the permuted puzzle would be drawn at first: the letters stay in their places
    assert tuple(moved.prompt.images) == tuple(make(changed).prompt.images)
    assert moved.prompt.text == problem.prompt.text


def test_permuted_texts_move_in_the_words(annotated):
    photo = annotated(choices=("red", "green", "blue", "grey"), answer="C")
    text = "See the photo. " + prompt_text(photo, "cot")
    problem = Problem(Prompt("photo", photo, "cot", text, (b"not looked at",)))
    moved = only(problem, "choices_permuted")
    changed = moved.prompt.puzzle
    assert changed.annotation.choices[changed.answer_index] == "blue"
    assert changed.annotation.answer == "ABCD"[changed.answer_index] != "C"
    assert moved.prompt.text == "See the photo. " + prompt_text(changed, "cot")
    assert moved.prompt.images == (b"not looked at",)


def test_choices_of_a_photograph_cannot_be_moved(annotated):
    problem = Problem(Prompt("photo", annotated(), "cot", prompt_text(annotated(), "cot"), (b"",)))
    found = list(probed([problem], [*PROBES], 0))
    refused = [one for one in found if isinstance(one, Refused)]
    assert [one.where for one in refused] == [
        f"photo, probe {name}"
        for name in ("context_blind", "choices_permuted", "relabelled", "perturbed_twin")
    ]
    assert all("needs" in one.reason for one in refused)


def test_orders_hang_on_the_problem_and_the_seed_alone(puzzles):
    problems = [own(puzzle, RenderConfig(16)) for puzzle in puzzles[:6]]

    def orders(which, seed):
        found = probed(which, ["choices_permuted"], seed)
        return {p.values("of")[0]: p.values("order")[0] for p in found if p.values("of")}

    assert orders(problems, 1) == orders(problems[::-1], 1)
    assert orders(problems, 1) != orders(problems, 2)
    assert len(set(orders(problems, 1).values())) == 6


def test_the_right_choice_never_keeps_its_letter(annotated):
    photo = annotated(choices=("red", "green"), answer="B")
    prompts = [Prompt(f"p{k}", photo, "cot", prompt_text(photo, "cot"), ()) for k in range(20)]
    found = probed(map(Problem, prompts), ["choices_permuted"], 0)
    assert {p.prompt.puzzle.answer_letter for p in found if p.values("of")} == {"A"}


def test_permuting_an_order_back_gives_the_puzzle(puzzles):
    for puzzle in puzzles[:20]:
        order = np.random.default_rng(puzzle.seed).permutation(8).tolist()
        assert permuted(permuted(puzzle, order), np.argsort(order).tolist()) == puzzle


def test_relabelled_problems_are_what_a_loader_would_make(puzzle):
    _, digits, roman = probed([filed(puzzle)], ["relabelled"], 0)
    for found, style in ((digits, "digits"), (roman, "roman")):
        wanted = filed(puzzle, labels=style)
        assert found.labels == style and found.prompt.text == wanted.prompt.text
        assert found.prompt.images == wanted.prompt.images
    assert [one.values("variant") for one in (digits, roman)] == [("digits",), ("roman",)]
    assert digits.prompt.images != roman.prompt.images


def test_letters_that_our_renderer_drew_cannot_be_renamed(puzzle):
    _, refused = probed([own(puzzle)], ["relabelled"], 0)
    assert refused.reason.startswith("the probe needs choices in its words")


def test_paraphrases_ask_every_puzzle_in_other_words(zoo, annotated):
    for puzzle in [*zoo[::6], annotated()]:
        for kind in ("cot", "direct"):
            for form in ("mark", "tags"):
                text = prompt_text(puzzle, kind, form)
                found = paraphrases(text)
                assert len({text, *found}) == 1 + NUM_WORDINGS
                assert all(answer_form_of(one) == form for one in found)
                assert all("{" not in one and "  " not in one for one in found)


@pytest.mark.parametrize("style", LABELS)
@pytest.mark.parametrize("kind", ["cot", "direct"])
def test_paraphrases_name_the_choices_as_the_prompt_does(annotated, style, kind):
    noun = {"letters": "letter", "digits": "number", "roman": "Roman numeral"}
    found = paraphrases(labelled_text(annotated(), kind, "mark", style))
    assert len(found) == NUM_WORDINGS
    for one in found:
        assert noun[style] in one
        assert not any(noun[other] in one for other in noun if other != style)


def test_paraphrases_leave_peoples_own_words(annotated):
    photo = annotated(choices=("red", "green"), answer="B")
    for one in paraphrases(prompt_text(photo, "cot", "tags")):
        assert one.startswith("Which tile continues the row?\nA: red\nB: green\n")
        assert one.endswith(TAG_REQUEST)
    assert paraphrases("Describe the image.") == ()


def test_paraphrased_problems_differ_in_their_words_alone(puzzle):
    problem = own(puzzle)
    _, *found = probed([problem], ["paraphrased"], 0)
    assert [one.values("variant") for one in found] == [("1",), ("2",), ("3",)]
    for one in found:
        assert replace(one.prompt, text="", prompt_id="") == replace(
            problem.prompt, text="", prompt_id=""
        )


@pytest.mark.parametrize("make", [own, filed])
def test_a_twin_is_drawn_as_its_state(puzzles, make):
    for puzzle in puzzles[:5]:
        found = only(make(puzzle), "perturbed_twin")
        twin, attribute = perturbed_twin(puzzle)
        assert found.prompt.puzzle == twin
        assert found.values("changed") == (attribute,)
        assert tuple(found.prompt.images) == tuple(make(twin).prompt.images)


def test_panels_of_a_twin_that_do_not_change_stay_the_files_own(puzzle):
    """The file's pixels are marked; only the panels that change lose the mark."""
    marked_panels = render_panels(puzzle).copy()
    marked_panels[:, 0, 0] = 77
    problem = filed(puzzle, image="panels")
    images = DrawnImages(lambda: marked_panels, replace(problem.prompt.images.look,
                                                        panel_size_px=160))  # fmt: skip
    found = only(replace(problem, prompt=replace(problem.prompt, images=images)), "perturbed_twin")
    twin = found.prompt.puzzle
    after = found.prompt.images.panels()
    for index, (old, new) in enumerate(zip(puzzle.context, twin.context, strict=True)):
        assert (after[index][0, 0] == 77) == (old == new)
    assert (after[8:, 0, 0] == 77).all()
    assert marked_panels[:, 0, 0].tolist() == [77] * 16


def test_ids_are_unique_and_tags_name_probe_and_problem(puzzle):
    names = [*PROBES]
    found = [one for one in probed([filed(puzzle)], names, 0) if isinstance(one, Problem)]
    ids = [one.prompt.prompt_id for one in found]
    assert len({*ids}) == len(ids) == 1 + 1 + 1 + 2 + NUM_WORDINGS + 1
    assert ids[0] == "filed/cot" and not found[0].values("probe")
    assert all(one.values("of") == ("filed/cot",) for one in found[1:])
    assert {one.values("probe")[0] for one in found[1:]} == {*names}


def test_probed_problems_can_go_to_another_process(puzzle):
    for one in probed([filed(puzzle)], [*PROBES], 0):
        again = pickle.loads(pickle.dumps(one))
        assert tuple(again.prompt.images) == tuple(one.prompt.images)


def test_an_unknown_probe_is_refused_at_once(puzzle):
    with pytest.raises(ConfigError, match="'blind'.*nearest: context_blind"):
        probed([own(puzzle)], ["blind"], 0)


def test_own_render_knows_our_pixels_and_no_others(zoo):
    for puzzle in zoo[::7]:
        for render in (SMALL, RenderConfig(32, has_letters=False)):
            assert own_render(own(puzzle, render)) == render
    puzzle = zoo[0]
    image = render_puzzle(puzzle, SMALL).copy()
    image[5, 5] ^= 1
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    for images in ((buffer.getvalue(),), (b"no image",), (), own(zoo[-1]).prompt.images):
        changed = replace(own(puzzle).prompt, images=images)
        assert own_render(Problem(changed)) is None


def test_scenes_are_blanked_above_their_choices(zoo):
    for puzzle in [p for p in zoo if p.family == "nonregular"][::5]:
        before, after = (
            pixels(problem.prompt.images[0])
            for problem in (own(puzzle), only(own(puzzle), "context_blind"))
        )
        assert (after[-32:] == before[-32:]).all()
        # frames and "?" alone are left, whatever the puzzle shows
        shown = LAYOUTS[puzzle.configuration]
        for row, length in enumerate(shown):
            cells = after[row * 32 : (row + 1) * 32, : length * 32]
            assert (cells[4:-4].reshape(24, length, 32)[..., 4:-4] == 255).all()
        missing = np.s_[(len(shown) - 1) * 32 : len(shown) * 32, shown[-1] * 32 :]
        assert (after[missing] == before[missing]).all() and (after[missing] < 100).any()


def test_draw_images_of_permuted_panels_is_what_is_asked(puzzle):
    """The engine sees one image of the look's size."""
    found = only(filed(puzzle), "choices_permuted").prompt.images
    assert len(found) == 1 and pixels(found[0]).shape == (160, 128)
    assert found[0] == draw_images(found.panels(), found.look)[0]
