"""The loop that does not wait: the same answers from the same draws, and nothing that waits in it."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rlvr_lab.policy import sampling
from rlvr_lab.policy.drawn import Drawn, multinomial_draw, nucleus, race_draw
from rlvr_lab.policy.loading import Policy, encode_prompts, load_policy
from rlvr_lab.policy.logprobs import prefill
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.static_sampling import (
    StaticDecoder,
    StaticLlamaDecoder,
    static_answers,
    static_decoder,
)
from tests.policy.waiting import Waits

PROMPTS = ["7+5+8+3....?", "1+2?", "1+2+3+4+5+6+7+8?"]  # left padding
FIELDS = ("completion_ids", "completion_mask", "attention_mask", "truncated")


@pytest.fixture(scope="module")
def llama() -> Policy:
    return load_policy("sums", "cpu")


@pytest.fixture(scope="module")
def gpt2(llama) -> Policy:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=44, n_embd=32, n_layer=2, n_head=4, eos_token_id=1)
    return Policy(GPT2LMHeadModel(config).eval(), llama.tokenizer, "gpt2")


@pytest.fixture
def same_draws(monkeypatch):
    """Every loop draws with the same arrival times: those of (step, answer)."""
    times = torch.rand(40, 64, 64, generator=torch.Generator().manual_seed(0)).log().neg()

    def drawing(static, top_p, generator):
        def draw(scores, step, answers):
            width = scores.shape[1]
            return (nucleus(scores, top_p) / times[step, answers, :width]).argmax(-1)

        return draw

    monkeypatch.setattr(sampling, "_drawing", drawing)


def both(policy, cap=24, prompts=PROMPTS, group_size=6, **options):
    generator = torch.Generator()
    given = policy, list(prompts), group_size, cap, generator
    return (sample(*given, loop=loop, **options) for loop in ("compact", "static"))


@pytest.mark.parametrize("cap", [1, 3, 16, 17, 24])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("options", [{}, {"temperature": 1.7}, {"top_p": 0.8}, {"group_size": 1}])
def test_equal_draws_are_equal_batches(same_draws, request, kind, cap, options) -> None:
    policy = request.getfixturevalue(kind)
    compact, static = both(policy, cap, **options)
    for name in FIELDS:
        assert torch.equal(getattr(compact, name), getattr(static, name)), name
    assert compact.texts == static.texts
    for name in ("old_logprobs", "entropy"):
        found, wanted = getattr(static, name), getattr(compact, name)
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)
    if cap == 24 and kind == "llama":
        ends = static.lengths[~static.truncated]
        assert len(ends.unique()) > 1, "the answers are to end at different tokens"


def test_one_of_several_stop_tokens_ends_an_answer(same_draws, gpt2) -> None:
    gpt2.model.generation_config.eos_token_id = [1, 7, 12]
    compact, static = both(gpt2)
    for name in FIELDS:
        assert torch.equal(getattr(compact, name), getattr(static, name)), name
    last = static.completion_ids.gather(1, static.lengths[:, None] - 1).squeeze(1)
    assert len(set(last[~static.truncated].tolist())) > 1


def test_forced_words_come_first(same_draws) -> None:
    lab = load_policy("lab", "cpu")
    words = ["right", "wrong"] * 8
    compact, static = both(lab, 20, ["?"], 16, forced_words=words)
    for name in FIELDS:
        assert torch.equal(getattr(compact, name), getattr(static, name)), name
    assert not static.completion_mask[:, 0].any()


def loop_of(policy, rows=18, cap=24, pad=0):
    """What ``sample`` passes to the loop."""
    ids, mask = encode_prompts(policy, PROMPTS)
    cache, logits = prefill(policy.model, ids, mask)
    size = rows // len(PROMPTS)
    decoder = static_decoder(policy.model, cache, mask, size, cap)
    drawn = Drawn.empty(rows, cap, pad, torch.float32, ids.device)
    return decoder, logits.repeat_interleave(size, 0), drawn


@torch.no_grad()
@pytest.mark.parametrize("every", [5, 16, 100])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_nothing_in_the_loop_waits(request, kind, top_p, every) -> None:
    policy = request.getfixturevalue(kind)
    decoder, logits, drawn = loop_of(policy)
    assert type(decoder) is {"llama": StaticLlamaDecoder, "gpt2": StaticDecoder}[kind]
    stops, generator = torch.tensor([99]), torch.Generator()  # nobody stops
    draw = lambda scores, step, answers: race_draw(scores, top_p, generator)  # noqa: E731
    with Waits() as waits:
        static_answers(decoder, logits, drawn, draw, None, stops, 1.0, every)
    looks = (24 - 1) // every
    assert waits.found == ({"_local_scalar_dense": looks} if looks else {})
    assert drawn.lengths.tolist() == [24] * 18


@torch.no_grad()
def test_the_other_loop_would_be_found_waiting(llama) -> None:
    with Waits() as waits:
        sample(llama, PROMPTS, 6, 24, torch.Generator(), loop="compact")
    assert {"_local_scalar_dense", "nonzero", "multinomial"} <= set(waits.found)
    assert {"_unique2", "equal"} & set(waits.found)


@torch.no_grad()
def test_the_loop_ends_soon_after_the_last_answer(llama) -> None:
    decoder, logits, drawn = loop_of(llama, pad=3)  # the stop token is the padding, too
    steps = []
    step = decoder.step
    decoder.step = lambda token: steps.append(1) or step(token)
    draw = lambda scores, step, answers: torch.full((18,), 3)  # noqa: E731
    static_answers(decoder, logits, drawn, draw, None, torch.tensor([3]), 1.0, 4)
    assert len(steps) == 3 and drawn.lengths.tolist() == [1] * 18
    assert not drawn.truncated.any() and bool((drawn.ids == 3).all())
    with pytest.raises(ValueError, match="check_every"):
        static_answers(decoder, logits, drawn, draw, None, torch.tensor([3]), 1.0, 0)


@pytest.mark.parametrize("draw", [race_draw, multinomial_draw])
@pytest.mark.parametrize("top_p", [1.0, 0.75])
def test_tokens_are_drawn_with_their_probabilities(draw, top_p) -> None:
    """χ² of 40,000 draws; the bar is passed by chance once in a million."""
    probs = torch.tensor([0.45, 0.25, 0.15, 0.1, 0.05, 0.0])
    count = 40_000
    drawn = draw(probs.log().expand(count, -1), top_p, torch.Generator().manual_seed(5))
    seen = torch.bincount(drawn, minlength=6)
    wanted = nucleus(probs.log()[None], top_p)[0]
    wanted = count * wanted / wanted.sum()
    assert not seen[wanted == 0].any()
    there = wanted > 0
    chi = ((seen - wanted)[there].square() / wanted[there]).sum()
    assert float(chi) < 33.4, seen  # χ² with 4 degrees of freedom


def test_cuda_takes_this_loop_and_no_other_device(llama, monkeypatch) -> None:
    taken = []
    real = sampling._takes_static_loop
    asked = lambda loop, device: taken.append(device.type) or real(loop, torch.device("cuda"))  # noqa: E731
    found = {kind: real("auto", torch.device(kind)) for kind in ("cpu", "mps", "cuda")}
    assert found == {"cpu": False, "mps": False, "cuda": True}
    assert real("static", torch.device("cpu")) and not real("compact", torch.device("cuda"))
    with pytest.raises(ValueError, match="loop: must be auto"):
        real("fast", torch.device("cpu"))
    monkeypatch.setattr(sampling, "_takes_static_loop", asked)
    monkeypatch.setattr(sampling, "_compact_answers", None)  # calling it would raise
    sample(llama, PROMPTS, 2, 3, torch.Generator())
    assert taken == ["cpu"]
