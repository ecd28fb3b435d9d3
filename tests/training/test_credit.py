from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.modeling.tokenizer import build_tokenizer
from rl_avr.parsing import parse
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.training.credit import group_token_credit, judged_claims, token_ends

PUZZLE = sample_puzzle("train", 3, 0, PuzzleConfig())
TOKENIZER = build_tokenizer()


def completion(text):
    ids = (*TOKENIZER(text).input_ids, TOKENIZER.eos_token_id)
    return Completion(text, ids, (0.0,) * len(ids), "stop", 0)


def graded(*texts):
    prompt = Prompt("p", PUZZLE, "cot", "", ())
    return grade(RolloutGroup(prompt, (), tuple(map(completion, texts))), RewardConfig())


def read(token_id):
    return TOKENIZER.decode([token_id], skip_special_tokens=True)


def test_every_claim_of_a_gold_chain_is_true():
    parsed = parse(gold_chain(PUZZLE), 8)
    judged = judged_claims(parsed, PUZZLE)
    assert all(claim.is_true for claim in judged)
    assert len({claim.key for claim in judged}) == len(judged)
    # 24 shown values, 6 predictions, 3 rules, then a value and a verdict per attribute tried
    assert len(judged) == 24 + 6 + 3 + 2 * len(parsed.verdict_claims)


def test_token_ends_spell_the_text():
    text = gold_chain(PUZZLE)
    done = completion(text)
    ends = token_ends(done, read)
    pieces = [text[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    assert "".join(pieces) == text
    assert pieces[:-1] == [read(i) for i in done.token_ids[:-1]]


def test_only_the_wrong_value_loses_and_only_there():
    text = gold_chain(PUZZLE)
    start = text.index("Size: ") + len("Size: ")
    wrong = text[:start] + str((int(text[start]) + 1) % 6) + text[start + 1 :]
    group = graded(text, text, text, wrong)
    num_tokens = len(group.group.completions[0].token_ids)
    credit = group_token_credit([group], TOKENIZER, num_tokens)
    at = [i for i, value in enumerate(credit[3].tolist()) if value]
    assert [read(group.group.completions[3].token_ids[i]) for i in at] == [f" {wrong[start]}"]
    assert credit[3][at[0]] < 0 < credit[0][at[0]]
    assert credit.shape == (4, num_tokens)


def test_a_text_that_its_tokens_do_not_spell_gets_no_credit():
    text = gold_chain(PUZZLE)
    torn = Completion(text + "é", completion(text).token_ids, (), "stop", 0)
    assert token_ends(torn, read) == []
