"""Chat templates: how a conversation is written for a chat model, and which token ends its turn.

A chat model has learned to answer after its own markers, for instance ``<|im_start|>assistant``. Its tokenizer
carries the template that writes them. A prompt without them is text to continue and not a question to answer, so
RL on such prompts trains something else, and nothing says so.
"""

from transformers import PreTrainedTokenizerBase

__all__ = ["Message", "chat_prompt", "skips_template", "turn_end"]

Message = dict[str, str]
"""``role`` (``system``, ``user`` or ``assistant``) and ``content``."""

_MARK = "rlvr"  # a text that no template contains


def chat_prompt(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    """The conversation as one text that ends where the model's answer begins.

    The text holds every marker of the template, a beginning-of-sequence token included, so it is tokenised
    *without* adding special tokens (as ``encode_prompts`` does): otherwise the text would begin with two of them.

    Args:
        tokenizer: of the chat model.
        messages: the last one is the user's.

    Raises:
        ValueError: when the tokenizer has no chat template, or there is no user's message at the end.
    """
    if not messages or messages[-1].get("role") != "user":
        raise ValueError("messages: the last message must be the user's")
    if not tokenizer.chat_template:
        raise ValueError(
            "tokenizer: has no chat template, so it belongs to no chat model; load a chat model (its name "
            "often ends in Instruct), or set tokenizer.chat_template"
        )
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of the token that the chat template writes after an answer; None without a template.

    A base model's files often name another token (``<|endoftext|>``) as the end of a text, although the template
    that comes with it ends each turn by ``<|im_end|>``. An answer that ends its turn has stopped.
    """
    if not tokenizer.chat_template:
        return None
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    _, _, after = tokenizer.apply_chat_template(talk, tokenize=False).rpartition(_MARK)
    after = after.lstrip()
    ids = tokenizer.encode(after, add_special_tokens=False)
    # A tokenizer may read a marker that it does not know as padding: its text is then another one.
    if not ids or not after.startswith(tokenizer.convert_ids_to_tokens(ids[0])):
        return None
    # Phi-3 marks the end of a turn as special in the vocabulary only, and not by a name such as eos_token.
    added = tokenizer.added_tokens_decoder.get(ids[0])
    special = ids[0] in tokenizer.all_special_ids or (added is not None and added.special)
    return ids[0] if special else None


def skips_template(tokenizer: PreTrainedTokenizerBase, prompt: str) -> bool:
    """Whether ``prompt`` lacks the marker after which this chat model answers; False for other models.

    Some templates (Mistral's) write no marker for the answer: it begins after what closes the user's turn. Where a
    template writes neither, nothing can be seen, and the answer is False.
    """
    if not tokenizer.chat_template:
        return False
    talk = [{"role": "user", "content": _MARK}]
    with_end, without = (
        tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=end)
        for end in (True, False)
    )
    marker = with_end.removeprefix(without).rstrip() or with_end.rpartition(_MARK)[2].strip()
    if not marker:
        return False
    _, marked, after = prompt.rpartition(marker)
    end = turn_end(tokenizer)
    # After the marker a template may open or skip a block of thoughts, but the answer's turn has not ended.
    return not marked or (end is not None and tokenizer.convert_ids_to_tokens(end) in after)
