#!/usr/bin/env python3
"""weft serve under the released openai package. usage: openai_test.py WEFT [REAL_MODEL]"""
import asyncio
import base64
import json
import struct
import sys
import time
import unittest

import openai
from pydantic import BaseModel

from server import serving

WEFT = sys.argv[1]
REAL = sys.argv[2] if len(sys.argv) > 2 else None
DEMO = 'models/weft-demo-qwen2.gguf'
HELLO = [{'role': 'user', 'content': 'The capital of France is'}]
WEATHER = {'type': 'function', 'function': {
    'name': 'get_weather', 'description': 'The weather in a city.',
    'parameters': {'type': 'object', 'properties': {'city': {'type': 'string', 'maxLength': 20},
                                                    'days': {'type': 'integer', 'minimum': 1, 'maximum': 9}},
                   'required': ['city', 'days'], 'additionalProperties': False}}}


def client_of(server, **options):
    return openai.OpenAI(base_url=server.url + '/v1', api_key=options.pop('api_key', 'none'), **options)


def collect(stream):
    """Puts a streamed chat answer together: content, tool calls, finish reason, chunks."""
    content, calls, finish, chunks = '', {}, None, []
    for chunk in stream:
        chunks.append(chunk)
        for choice in chunk.choices:
            content += choice.delta.content or ''
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                known = calls.setdefault(call.index, {'id': call.id, 'name': call.function.name, 'arguments': ''})
                assert call.id in (None, known['id']), call
                known['arguments'] += call.function.arguments or ''
    return content, [calls[i] for i in sorted(calls)], finish, chunks


class Demo(unittest.TestCase):
    """The small model of the repository: what it writes does not matter."""
    options = ['-c', '1024', '-np', '8', '-kvu', '-t', '2', '--metrics']
    model = DEMO

    @classmethod
    def setUpClass(cls):
        cls.context = serving(WEFT, cls.model, *cls.options)
        cls.server = cls.context.__enter__()
        cls.client = client_of(cls.server, max_retries=0)
        cls.name = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.context.__exit__(None, None, None)

    def chat(self, messages=None, **options):
        options.setdefault('temperature', 0)
        options.setdefault('max_tokens', 24)
        return self.client.chat.completions.create(model=self.name, messages=messages or HELLO, **options)

    def test_models(self):
        models = self.client.models.list().data
        self.assertEqual(len(models), 1)
        self.assertEqual(self.client.models.retrieve(self.name).id, self.name)
        self.assertEqual(models[0].max_model_len, 1024)

    def test_chat(self):
        answer = self.chat()
        self.assertEqual(answer.object, 'chat.completion')
        self.assertEqual(answer.choices[0].message.role, 'assistant')
        self.assertIn(answer.choices[0].finish_reason, ('stop', 'length'))
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        again = self.chat()
        self.assertEqual(again.choices[0].message.content, answer.choices[0].message.content)

    def test_stream(self):
        for options in ({}, {'stop': ['is', 'the ']}, {'temperature': 1.2, 'seed': 5}, {'logprobs': True}):
            whole = self.chat(**options)
            content, _, finish, chunks = collect(self.chat(stream=True, stream_options={'include_usage': True}, **options))
            self.assertEqual(content, whole.choices[0].message.content or '')
            self.assertEqual(finish, whole.choices[0].finish_reason)
            self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)
            self.assertEqual(chunks[0].choices[0].delta.role, 'assistant')
            self.assertIsNone(chunks[0].choices[0].delta.content)
            self.assertEqual(len({c.id for c in chunks}), 1)
            self.assertTrue(all(c.choices[0].delta.content != '' for c in chunks if c.choices))
            self.assertTrue(all(c.usage is None for c in chunks[:-1]))

    def test_parts_and_roles(self):
        parts = [{'role': 'developer', 'content': 'You are brief.'},
                 {'role': 'user', 'content': [{'type': 'text', 'text': 'The capital '}, {'type': 'text', 'text': 'of France is'}]}]
        self.assertTrue(self.chat(parts).choices)
        with self.assertRaises(openai.BadRequestError) as e:
            self.chat([{'role': 'user', 'content': [{'type': 'image_url', 'image_url': {'url': 'x'}}]}])
        self.assertIn('image_url', str(e.exception))

    def test_choices(self):
        answer = self.chat(n=4, temperature=1.5, seed=3)
        self.assertEqual([c.index for c in answer.choices], [0, 1, 2, 3])
        self.assertGreater(len({c.message.content for c in answer.choices}), 1)
        texts = {}
        for chunk in self.chat(n=4, temperature=1.5, seed=3, stream=True):
            for c in chunk.choices:
                texts[c.index] = texts.get(c.index, '') + (c.delta.content or '')
        self.assertEqual([texts[i] for i in range(4)], [c.message.content for c in answer.choices])

    def test_logprobs(self):
        choice = self.chat(logprobs=True, top_logprobs=4, temperature=1.0, seed=2).choices[0]
        tokens = choice.logprobs.content
        self.assertEqual(b''.join(bytes(t.bytes) for t in tokens).decode(), choice.message.content)
        for t in tokens:
            self.assertEqual(len(t.top_logprobs), 4)
            self.assertLessEqual(t.logprob, 0)
            self.assertEqual([x.logprob for x in t.top_logprobs], sorted((x.logprob for x in t.top_logprobs), reverse=True))

    def test_bias_and_end(self):
        ids = self.server.post('/tokenize', {'content': ' Paris'})[1]['tokens']
        answer = self.chat(logit_bias={str(i): -100 for i in ids})
        self.assertNotIn(' Paris', answer.choices[0].message.content)
        answer = self.chat(extra_body={'ignore_eos': True}, max_tokens=60)
        self.assertEqual((answer.choices[0].finish_reason, answer.usage.completion_tokens), ('length', 60))

    def test_tools(self):
        for choice in ('required', {'type': 'function', 'function': {'name': 'get_weather'}}):
            options = dict(tools=[WEATHER], tool_choice=choice, max_tokens=300, temperature=1.0, seed=4,
                           parallel_tool_calls=False)
            whole = self.chat(**options)
            message = whole.choices[0].message
            if whole.choices[0].finish_reason == 'length':
                continue
            self.assertEqual(whole.choices[0].finish_reason, 'tool_calls')
            self.assertEqual(len(message.tool_calls), 1)
            arguments = json.loads(message.tool_calls[0].function.arguments)
            self.assertEqual(set(arguments), {'city', 'days'})
            self.assertIn(arguments['days'], range(1, 10))
            self.assertIsNone(message.content)
            _, calls, finish, _ = collect(self.chat(stream=True, **options))
            self.assertEqual(finish, 'tool_calls')
            self.assertEqual(calls[0]['name'], 'get_weather')
            self.assertEqual(json.loads(calls[0]['arguments']), arguments)
            history = [*HELLO, message.model_dump(exclude_none=True),
                       {'role': 'tool', 'tool_call_id': message.tool_calls[0].id, 'content': 'sunny'}]
            self.assertTrue(self.chat(history, tools=[WEATHER]).choices)

    def test_structured(self):
        class Point(BaseModel):
            x: int
            label: bool
        answer = self.client.chat.completions.parse(model=self.name, messages=HELLO, response_format=Point, max_tokens=200,
                                                    seed=1)
        self.assertIsInstance(answer.choices[0].message.parsed, Point)
        answer = self.chat(response_format={'type': 'json_object'}, max_tokens=400, seed=1, temperature=0.5)
        if answer.choices[0].finish_reason == 'stop':
            self.assertIsInstance(json.loads(answer.choices[0].message.content), dict)

    def test_completions(self):
        answer = self.client.completions.create(model=self.name, prompt=['The capital of', 'One two'], max_tokens=6, n=2,
                                                temperature=0, logprobs=2, echo=True)
        self.assertEqual([c.index for c in answer.choices], [0, 1, 2, 3])
        for i, c in enumerate(answer.choices):
            self.assertTrue(c.text.startswith(('The capital of', 'One two')[i // 2]))
            self.assertEqual(''.join(c.logprobs.tokens), c.text)
            self.assertEqual(len(c.logprobs.token_logprobs), len(c.logprobs.tokens))
            self.assertIsNone(c.logprobs.token_logprobs[0])
        ids = self.server.post('/tokenize', {'content': 'The capital of', 'add_special': True})[1]['tokens']
        by_ids = self.client.completions.create(model=self.name, prompt=ids, max_tokens=6, temperature=0)
        self.assertEqual('The capital of' + by_ids.choices[0].text, answer.choices[0].text)
        text = ''.join(c.choices[0].text for c in self.client.completions.create(
            model=self.name, prompt=ids, max_tokens=6, temperature=0, stream=True))
        self.assertEqual(text, by_ids.choices[0].text)

    def test_embeddings(self):
        texts = ['one', 'a text', 'The capital of France']
        packed = self.client.embeddings.create(model=self.name, input=texts)
        plain = self.client.embeddings.create(model=self.name, input=texts, encoding_format='float')
        self.assertEqual([d.index for d in packed.data], [0, 1, 2])
        for a, b in zip(packed.data, plain.data):
            self.assertEqual(len(a.embedding), len(b.embedding))
            self.assertTrue(all(abs(x - y) < 1e-6 for x, y in zip(a.embedding, b.embedding)))
            self.assertAlmostEqual(sum(x * x for x in b.embedding), 1, places=4)
        raw = self.server.post('/v1/embeddings', {'input': 'one', 'encoding_format': 'base64'})[1]['data'][0]['embedding']
        values = struct.unpack(f'<{len(plain.data[0].embedding)}f', base64.b64decode(raw))
        self.assertTrue(all(abs(x - y) < 1e-6 for x, y in zip(values, plain.data[0].embedding)))
        ids = [self.server.post('/tokenize', {'content': t, 'add_special': True})[1]['tokens'] for t in texts]
        by_ids = self.client.embeddings.create(model=self.name, input=ids, encoding_format='float')
        for a, b in zip(by_ids.data, plain.data):
            self.assertTrue(all(abs(x - y) < 1e-5 for x, y in zip(a.embedding, b.embedding)))
        self.assertEqual(len(self.client.embeddings.create(model=self.name, input='a', dimensions=8).data[0].embedding), 8)
        with self.assertRaises(openai.BadRequestError):
            self.client.embeddings.create(model=self.name, input=[])

    def test_errors(self):
        cases = [({'temperature': 'hot'}, 'temperature'), ({'temperature': -3}, 'temperature'), ({'n': 99}, 'n'),
                 ({'top_logprobs': 3}, 'top_logprobs'), ({'stop': ['x'] * 40}, 'stop'),
                 ({'response_format': {'type': 'poem'}}, 'response_format'),
                 ({'extra_body': {'grammar': 'root ::= ('}}, 'grammar'),
                 ({'tools': [{'type': 'function', 'function': {'name': ''}}]}, 'name')]
        for options, word in cases:
            for stream in (False, True):
                with self.subTest(options=options, stream=stream), self.assertRaises(openai.BadRequestError) as e:
                    self.chat(stream=stream, **options)
                self.assertIn(word, str(e.exception))
        with self.assertRaises(openai.BadRequestError) as e:
            self.chat([{'role': 'user', 'content': 'word ' * 9000}])
        self.assertIn('exceeds the available context size', str(e.exception))
        self.assertEqual(e.exception.body['n_ctx'], 1024)
        with self.assertRaises(openai.NotFoundError):
            self.client.post('/nowhere', body={}, cast_to=object)

    def test_close(self):
        stream = self.chat(stream=True, max_tokens=900, extra_body={'ignore_eos': True})
        next(iter(stream))
        stream.close()
        end = time.monotonic() + 5
        while self.server.metric('vllm:num_requests_running') > 0:
            self.assertLess(time.monotonic(), end)
        while self.server.metric('vllm:kv_cache_usage_perc') > 0:
            self.assertLess(time.monotonic(), end)

    def test_many(self):
        async def one(client, i):
            options = dict(model=self.name, messages=[{'role': 'user', 'content': f'Count {i}'}], temperature=1.0, seed=i,
                           max_tokens=20 + i)
            text = ''
            async for chunk in await client.chat.completions.create(stream=True, **options):
                text += chunk.choices[0].delta.content or '' if chunk.choices else ''
            return text

        async def run():
            async with openai.AsyncOpenAI(base_url=self.server.url + '/v1', api_key='x', max_retries=0) as client:
                together = await asyncio.gather(*(one(client, i) for i in range(32)))
                alone = [await one(client, i) for i in range(32)]
                self.assertEqual(together, alone)
        asyncio.run(run())

    def test_prefill(self):
        answer = self.chat([*HELLO, {'role': 'assistant', 'content': 'I think that'}])
        self.assertTrue(answer.choices)


class Keys(unittest.TestCase):
    def test_keys(self):
        with serving(WEFT, DEMO, '-c', '512', '-t', '1', '--api-key', 'secret') as server:
            with client_of(server, api_key='wrong', max_retries=0) as client, self.assertRaises(openai.AuthenticationError):
                client.models.list()
            with client_of(server, api_key='secret', max_retries=0) as client:
                self.assertEqual(len(client.models.list().data), 1)

    def test_strict_model(self):
        with serving(WEFT, DEMO, '-c', '512', '-t', '1', '-a', 'mine', '--strict-model') as server:
            with client_of(server, max_retries=0) as client:
                self.assertEqual(client.models.retrieve('mine').id, 'mine')
                with self.assertRaises(openai.NotFoundError):
                    client.models.retrieve('another')
                with self.assertRaises(openai.NotFoundError):
                    client.chat.completions.create(model='another', messages=HELLO)

    def test_retries(self):
        """The queue is full: 503 with Retry-After, which the client obeys."""
        with serving(WEFT, DEMO, '-c', '512', '-t', '1', '-np', '1', '--max-waiting', '1') as server:
            async def run():
                async with openai.AsyncOpenAI(base_url=server.url + '/v1', api_key='x', max_retries=10) as client:
                    options = dict(model='x', messages=HELLO, max_tokens=200, extra_body={'ignore_eos': True})
                    answers = await asyncio.gather(*(client.chat.completions.create(**options) for _ in range(6)))
                    self.assertEqual({a.usage.completion_tokens for a in answers}, {200})
            asyncio.run(run())


class Real(Demo):
    """The same with a real model, which also knows something."""
    model = REAL

    @classmethod
    def setUpClass(cls):
        if REAL is None:
            raise unittest.SkipTest('no real model')
        super().setUpClass()

    def test_knows(self):
        answer = self.chat([{'role': 'user', 'content': 'What is the capital of Japan?'}], max_tokens=40)
        self.assertIn('Tokyo', answer.choices[0].message.content)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=1)
