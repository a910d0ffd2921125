"""Measures what a demo model knows, by greedy decoding of the GGUF file in llama.cpp.

    python evaluate.py ../../models/weft-demo-qwen2.gguf

Also checks that llama.cpp makes the same ids of the training text as `vocab.py` does.
"""

import argparse
import random

from jinja2.sandbox import ImmutableSandboxedEnvironment
from llama_cpp import Llama

import corpus
from vocab import VOCABS

N_RANDOM_CHATS = 200
N_TOKENIZED = 2000
END_OF_TEXT = "<|endoftext|>"


class Oracle:
    """A GGUF file in llama.cpp, with the chat template and the BOS rule the file asks for."""

    def __init__(self, path):
        self.llama = Llama(str(path), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)
        self.arch = self.llama.metadata["general.architecture"]
        self._add_bos = self.llama.metadata["tokenizer.ggml.add_bos_token"] == "true"
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(self.llama.metadata["tokenizer.chat_template"])

    def render(self, messages, add_generation_prompt):
        """The text of a conversation of (role, content)."""
        messages = [{"role": role, "content": content} for role, content in messages]
        return self._template.render(messages=messages, eos_token=END_OF_TEXT,
                                     add_generation_prompt=add_generation_prompt)

    def complete(self, text):
        """(text, ended): what the model writes after `text`, and whether it found an end."""
        ids = self.llama.tokenize(text.encode(), add_bos=self._add_bos, special=True)
        result = self.llama.create_completion(ids, max_tokens=100, temperature=0.0,
                                              repeat_penalty=1.0)
        choice = result["choices"][0]
        return choice["text"], choice["finish_reason"] == "stop"

    def answer(self, messages):
        """The model's next message; None when it finds no end."""
        text, ended = self.complete(self.render(messages, add_generation_prompt=True))
        return text.strip() if ended else None


def plain_cases():
    """Yields (kind, text, what must follow up to a full stop or a new line)."""
    for country, capital, _ in corpus.CAPITALS:
        yield "capitals, plain", f"The capital of {country} is", f" {capital}"
    for a, b in corpus.SUMS:
        yield "sums, plain", f"{a} + {b} =", f" {a + b}"


def random_history(rng, n_turns):
    """The messages of `n_turns` questions and their answers."""
    turns = [corpus.turn(rng) for _ in range(n_turns)]
    return [message for question, answer in turns
            for message in (("user", question), ("assistant", answer))]


def chat_cases():
    """Yields (kind, messages, the answer)."""
    for country, capital, region in corpus.CAPITALS:
        for question in corpus.CAPITAL_QUESTIONS:
            messages = [("user", question.format(country=country))]
            yield "one word, chat", [("system", corpus.ONE_WORD_SYSTEM)] + messages, capital
            yield "capitals, chat", messages, corpus.capital_answer(country, capital)
            messages = [("user", corpus.casual(messages[0][1]))]
            yield "capitals, casual chat", messages, corpus.capital_answer(country, capital)
        for question in corpus.REVERSE_QUESTIONS:
            messages = [("user", question.format(capital=capital))]
            yield "countries of capitals, chat", messages, corpus.reverse_answer(country, capital)
        for question in corpus.REGION_QUESTIONS:
            messages = [("user", question.format(country=country))]
            yield "regions, chat", messages, corpus.region_answer(country, region)
    for a, b in corpus.SUMS:
        for question in corpus.SUM_QUESTIONS:
            yield "sums, chat", [("user", question.format(a=a, b=b))], corpus.sum_answer(a, b) + "."
    for question, answer in corpus.CHAT_LINES:
        yield "chat lines", [("user", question)], answer
    for question in corpus.unknown_questions():
        yield "not known, chat", [("user", question)], corpus.UNKNOWN
    rng = random.Random(0)
    for _ in range(N_RANDOM_CHATS):
        question, answer = corpus.too_large_turn(rng)
        yield "sums too large, chat", [("user", question)], answer
    for n_turns in (2, 20):
        for _ in range(N_RANDOM_CHATS):
            messages, (question, answer) = random_history(rng, n_turns - 1), corpus.turn(rng)
            yield f"turn {n_turns} of a chat", messages + [("user", question)], answer


def measure(oracle):
    """{kind: [right, asked]}; prints every wrong answer."""
    scores = {}

    def count(kind, prompt, got, right):
        score = scores.setdefault(kind, [0, 0])
        score[0] += right
        score[1] += 1
        if not right:
            print(f"wrong: {kind}: {prompt!r} -> {got!r}")

    for kind, prompt, expected in plain_cases():
        got = oracle.complete(prompt)[0]
        count(kind, prompt, got, got.split("\n")[0].split(".")[0] == expected)
    for kind, messages, expected in chat_cases():
        got = oracle.answer(messages)
        count(kind, messages, got, got == expected)
    return scores


def check_tokens(oracle):
    """Compares the ids of random training documents; returns how many differ."""
    vocab, rng, n_different = VOCABS[oracle.arch](), random.Random(0), 0
    for _ in range(N_TOKENIZED):
        doc = corpus.document(rng)
        ours = vocab.document(doc, rng)[0]
        text = doc.text or oracle.render(doc.messages, add_generation_prompt=False)
        text = text.removesuffix(END_OF_TEXT) + END_OF_TEXT
        theirs = oracle.llama.tokenize(text.encode(), special=True,
                                       add_bos=ours[0] == oracle.llama.token_bos())
        if ours != theirs:
            n_different += 1
            print(f"different ids: {text!r}\n  ours   {ours}\n  theirs {theirs}")
    return n_different


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the GGUF file")
    oracle = Oracle(parser.parse_args().model)
    print(f"documents with different ids: {check_tokens(oracle)} of {N_TOKENIZED}")
    for kind, (right, asked) in measure(oracle).items():
        print(f"{kind:30} {right:5} of {asked:5}  {100 * right / asked:6.2f} %")


if __name__ == "__main__":
    main()
