"""Chat templates: what a prompt has to look like, and where an answer ends."""

import pytest
import torch
from transformers import AddedToken, PreTrainedTokenizerFast

from rlvr_lab.policy.architecture import new_policy
from rlvr_lab.policy.chat import chat_prompt, skips_template, turn_end
from rlvr_lab.policy.loading import Policy, encode_prompts, load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.policy.words import word_tokenizer

WORDS = ["<pad>", "<eos>", "<bos>", "<user>", "<bot>", "<end>", "\n", *"abcdefgh", "?"]
PLAIN = (
    "{% for m in messages %}{{ '<user>' if m.role == 'user' else '<bot>' }}{{ m.content }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)


def chat_tokenizer(template: str = PLAIN) -> PreTrainedTokenizerFast:
    """Words of one token each, and a template that ends a turn with ``<end>`` although the files say ``<eos>``."""
    tokenizer = word_tokenizer(WORDS)
    tokenizer.add_special_tokens({"bos_token": "<bos>", "extra_special_tokens": ["<end>"]})
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture
def policy() -> Policy:
    return new_policy(chat_tokenizer(), seed=0, device="cpu")


def told(policy: Policy, word: str) -> Policy:
    """The policy, made to write ``word`` whatever it reads."""
    head = policy.model.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[policy.tokenizer.convert_tokens_to_ids(word)] = 50.0
    head.register_forward_hook(lambda module, given, logits: logits + bias)
    return policy


ASKED = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
ASKED += [{"role": "user", "content": "c?"}]


def test_the_conversation_ends_where_the_answer_begins():
    assert chat_prompt(chat_tokenizer(), ASKED) == "<user>a<end>\n<bot>b<end>\n<user>c?<end>\n<bot>"


@pytest.mark.parametrize("messages", [[], ASKED[:2]])
def test_the_last_message_is_the_users(messages):
    with pytest.raises(ValueError, match="messages"):
        chat_prompt(chat_tokenizer(), messages)


def test_without_a_template_there_is_nothing_to_render():
    with pytest.raises(ValueError, match="no chat template"):
        chat_prompt(word_tokenizer(WORDS), ASKED)


class TestStopping:
    """An answer that ends its turn has stopped, whichever end the files name."""

    def test_three_sources_of_ends(self, policy):
        policy.model.generation_config.eos_token_id = [1, 7]
        assert policy.stop_ids == [1, 5, 7]

    def test_the_end_of_a_turn_stops_an_answer(self, policy):
        batch = sample(told(policy, "<end>"), ["<user>a<bot>"], 4, 3, torch.Generator())
        assert batch.texts == [""] * 4 and not batch.truncated.any()
        assert batch.completion_mask.sum().item() == 4  # and the stopping is trained

    def test_so_does_the_end_of_the_text(self, policy):
        batch = sample(told(policy, "<eos>"), ["<user>a<bot>"], 4, 3, torch.Generator())
        assert batch.texts == [""] * 4 and not batch.truncated.any()

    def test_another_word_does_not(self, policy):
        batch = sample(told(policy, "d"), ["<user>a<bot>"], 4, 3, torch.Generator())
        assert batch.texts == ["ddd"] * 4 and batch.truncated.all()

    def test_a_template_that_thinks_first(self):
        """Qwen3's template writes an empty block of thoughts before an old answer."""
        template = PLAIN.replace(
            "{{ m.content }}", "{% if m.role != 'user' %}h\n\n{% endif %}{{ m.content }}"
        )
        assert turn_end(chat_tokenizer(template)) == WORDS.index("<end>")

    def test_an_ordinary_word_after_the_answer_is_no_end(self):
        assert turn_end(chat_tokenizer(PLAIN.replace("<end>\n", "\n"))) is None
        assert turn_end(word_tokenizer(WORDS)) is None

    def test_the_shipped_models_stop_as_before(self):
        assert load_policy("sums", "cpu").stop_ids == [1]


def test_a_template_with_a_beginning_gives_one_beginning():
    """``tokenizer(text)`` would add a second one: the text already has it."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = chat_tokenizer("{{ '<bos>' }}" + PLAIN)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", WORDS.index("<bos>"))]
    )
    policy = new_policy(tokenizer, seed=0, device="cpu")
    prompt = chat_prompt(tokenizer, ASKED)
    assert tokenizer(prompt).input_ids[:2] == [2, 2]  # the mistake
    ids, _ = encode_prompts(policy, [prompt])
    assert ids[0].tolist().count(2) == 1 and ids[0, 0] == 2


def test_a_skipped_template_is_seen():
    tokenizer = chat_tokenizer()
    assert skips_template(tokenizer, "a\nb\nc?") and skips_template(tokenizer, "<user>c?<end>\n")
    assert not skips_template(tokenizer, chat_prompt(tokenizer, ASKED))
    assert skips_template(
        tokenizer, chat_prompt(tokenizer, ASKED).removesuffix("<bot>")
    )  # an older turn has one
    assert not skips_template(
        tokenizer, chat_prompt(tokenizer, ASKED) + "h\n\n"
    )  # no thoughts, please
    assert not skips_template(word_tokenizer(WORDS), "a\nb\nc?")  # no chat model: nothing to skip


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% if m.role == 'user' %}<user>{{ m.content }}h{% else %}{{ m.content }}<eos>"
        "{% endif %}{% endfor %}",  # Mistral's way: what closes the question opens the answer
        PLAIN.replace("{% if add_generation_prompt %}<bot>{% endif %}", "<bot>"),  # always asks
    ],
)
def test_a_template_without_a_marker_for_the_answer(template):
    tokenizer = chat_tokenizer(template)
    assert skips_template(tokenizer, "a\nb\nc?")
    assert not skips_template(tokenizer, chat_prompt(tokenizer, ASKED))


def test_where_nothing_marks_the_answer_nothing_is_seen():
    tokenizer = chat_tokenizer("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert not skips_template(tokenizer, "c?")


def test_a_marker_that_the_tokenizer_reads_as_padding_is_no_end():
    assert turn_end(chat_tokenizer(PLAIN.replace("<end>", "<over>"))) is None


def test_an_end_that_is_special_without_a_name():
    """Phi-3's ``<|end|>`` is marked in the vocabulary and stands in no list of named tokens."""
    tokenizer = word_tokenizer(WORDS)
    tokenizer.add_tokens([AddedToken("<end>", special=True)])
    tokenizer.chat_template = PLAIN
    assert WORDS.index("<end>") not in tokenizer.all_special_ids
    assert turn_end(tokenizer) == WORDS.index("<end>")
