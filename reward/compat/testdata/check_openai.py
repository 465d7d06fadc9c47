"""Talks to a server with OpenAI's own client and says what it made of the answers.

    python check_openai.py SERVER [RECORD]

SERVER is the address of client/python/tests/testdata/fakeserver with the flag writes:
its evaluators are fake, which answers in its own template, and writer, which continues
prompts. With RECORD the exchanges are written to that file, which the Go tests
read. Needs openai and Pillow.
"""

import base64
import io
import json
import sys

import openai
from PIL import Image

recorded = []


def keep(response):
    response.read()
    try:
        made = response.json()
        made.pop("id", None), made.pop("created", None)
    except ValueError:
        made = response.text
    sent = response.request.content
    recorded.append({
        "name": current, "path": response.request.url.path, "status": response.status_code,
        "request": json.loads(sent) if sent else None, "response": made,
    })


def data_uri(side):
    file = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def user(prompt, *urls):
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*content, {"type": "text", "text": prompt}]}]


client = openai.OpenAI(
    base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0, http_client=openai.DefaultHttpxClient(event_hooks={"response": [keep]})
)


def create(name, messages, **options):
    global current
    current = name
    return client.chat.completions.create(**{"model": "fake", "messages": messages, **options})


def raises(kind, name, messages, **options):
    try:
        create(name, messages, **options)
    except kind as e:
        assert e.body and e.message, e
        return
    raise AssertionError(f"{name}: no {kind.__name__}")


def writes(image):
    """An evaluator that continues the caller's own messages."""
    brief = {"role": "system", "content": "be brief"}
    got = create("own messages", [brief, *user("what is this", image)], model="writer", max_tokens=64)
    text = got.choices[0].message.content
    assert text.startswith("be brief what is this image "), got
    assert got.choices[0].finish_reason == "stop" and got.model == "writer", got
    assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.usage.total_tokens) == (6, 7, 13), got
    got = create("cut at max_tokens", user("what is this", image), model="writer", max_tokens=2)
    assert got.choices[0].message.content == "what is" and got.choices[0].finish_reason == "length", got
    assert got.usage.completion_tokens == 2, got
    got = create("cut at a stop text", user("what is this", image), model="writer", stop=["this", "is "])
    assert got.choices[0].message.content == "what " and got.choices[0].finish_reason == "stop", got
    got = create("the evaluator's own template", user("a cat", image), model="writer", extra_body={"mode": "answer"})
    assert got.choices[0].message.content == "fake: a cat", got
    raises(openai.InternalServerError, "a generator that fails", user("fail: a", image), model="writer")
    raises(openai.BadRequestError, "a conversation", [*user("a", image), {"role": "assistant", "content": "b"}, *user("c", image)], model="writer")
    raises(openai.BadRequestError, "five stop texts", user("a", image), model="writer", stop=list("abcde"))
    raises(openai.BadRequestError, "a stop text for an own template", user("a", image), stop="a")


def main():
    global current
    image = data_uri(24)
    got = create("an image with its prompt", user("a cat", image), temperature=0, max_tokens=4096)
    assert got.choices[0].message.content == "fake: a cat", got
    assert got.choices[0].finish_reason == "stop" and got.model == "fake" and got.object == "chat.completion", got
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens, got
    got = create("mode think", user("größe", image), extra_body={"mode": "think"})
    assert "größe" in got.choices[0].message.content, got
    raises(openai.BadRequestError, "a stream", user("a", image), stream=True)
    raises(openai.BadRequestError, "two choices", user("a", image), n=2)
    raises(openai.BadRequestError, "two images", user("a", image, image))
    raises(openai.BadRequestError, "no image", user("a"))
    raises(openai.BadRequestError, "an address", user("a", "https://example.com/a.png"))
    raises(openai.BadRequestError, "a system's message", [{"role": "system", "content": "be brief"}, *user("a", image)])
    raises(openai.BadRequestError, "a cut file", user("a", image[: len(image) // 2 // 4 * 4 + 2]))
    raises(openai.NotFoundError, "no such model", user("a", image), model="nobody")
    raises(openai.InternalServerError, "an evaluator that fails", user("fail: a", image))
    writes(image)
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w") as file:
            json.dump(recorded, file, indent=1, ensure_ascii=False)
            file.write("\n")
    current = "the models"
    assert [m.id for m in client.models.list()] == ["fake", "writer"]
    print("openai", openai.__version__, "took", len(recorded), "answers")


main()
