"""Vocabularies of whole words: one token for each word, longest words first.

The course's own vocabulary serves the sums and the length laboratory. The codes, the letters and the reward
model that reads characters have vocabularies of their own, made by the same function.
"""

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

__all__ = ["CODE_WORDS", "WORDS", "build_tokenizer", "word_tokenizer"]

DIGITS = list("0123456789")
NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ADDENDS = [f"+{digit}" for digit in DIGITS]
WORDS = ["<pad>", "<eos>", *DIGITS, *ADDENDS, *NUMBER_WORDS, ".", "?", "="]
WORDS += ["<think>", "</think>", "wait", "/think", "/no_think", "right", "wrong", "ok", "hmm"]
CODE_WORDS = ["<pad>", "<eos>", *DIGITS, *ADDENDS, *NUMBER_WORDS, ",", "?", "="]
CODE_WORDS += ["<think>", "</think>", "wait"]


def word_tokenizer(words: list[str], end: str | None = "<eos>") -> PreTrainedTokenizerFast:
    """A tokenizer with exactly these words; the id of a word is its position in the list.

    Args:
        words: the vocabulary, including ``<pad>``.
        end: the end-of-sequence word; None for a vocabulary without one.

    >>> word_tokenizer(["<pad>", "<eos>", "7", "+7"])("7+7").input_ids
    [2, 3]
    """
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    longest_first = sorted(words, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token=end,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the course's vocabulary, which is stored in ``data/tokenizer``."""
    return word_tokenizer(WORDS)
