"""What `transformers` renders with the template of our tiny thinking model.

Run `python make_thinking.py`; it rewrites fixtures/thinking. With `--published FILE`, the template of a published
Thinking checkpoint (its chat_template.jinja), it also holds every case against what that one renders.
"""

import argparse
import hashlib
from pathlib import Path

from common import FIXTURES, fresh, write_json

from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATE = FIXTURES.parent.parent / "crates/vtb-models-vlm/src/tiny/thinking_template.jinja"


def text(*parts):
    """A turn's content: strings are text, other names are media."""
    return [{"type": p} if p in ("image", "video") else {"type": "text", "text": p} for p in parts]


def turn(role, content):
    return {"role": role, "content": content}


SYSTEM = turn("system", "Be brief.")
ASK = turn("user", text("image", "Which?"))
WATCH = turn("user", text("video", "image", "Which is first?"))
AGAIN = turn("user", "Why?")
LOOK = turn("user", text("And in ", "image", "?"))
THOUGHT = turn("assistant", "<think>\nThe left one is red.\n</think>\n\n<answer>A</answer>")
PLAIN = turn("assistant", "<answer>B</answer>")
# What a sampled answer looks like: the prompt held the opening tag.
SAMPLED = turn("assistant", "The right one\nis blue.\n</think>\n\n<answer>C</answer>")
EMPTY = turn("assistant", "<think>\n\n</think>\n\n<answer>D</answer>")
TIGHT = turn("assistant", "<think>short</think><answer>E</answer>")
TWICE = turn("assistant", "<think>one</think> and <think>two\n\n</think>\n\n\nF\n")
OPEN = turn("assistant", "<think>\nnever closed")
BLANKS = turn("assistant", "\n\n<answer>G</answer>\n")
PARTS = turn("assistant", text("<think>\nin parts\n</think>", "\n\nH"))
TOOL = turn("tool", "7")
TOOL_PICTURE = turn("tool", text("image", "a crop"))
TOLD = turn("user", "<tool_response>\n7\n</tool_response>")
TOLD_PARTS = turn("user", text("<tool_response>\n", "image", "\n</tool_response>"))
HALF_TOLD = turn("user", "<tool_response> is a tag")
CASES = {
    "prompt": ([ASK], True),
    "system": ([SYSTEM, ASK], True),
    # without a picture: the published templates number one there 0
    "system of parts": ([turn("system", text("Look ", "closely.")), ASK], True),
    "late system": ([ASK, PLAIN, SYSTEM, AGAIN], True),
    "media": ([WATCH], True),
    "answered": ([ASK, THOUGHT], False),
    "answered without a thought": ([ASK, PLAIN], False),
    "sampled": ([ASK, SAMPLED], False),
    "empty thought": ([ASK, EMPTY], False),
    "tight": ([ASK, TIGHT], False),
    "two thoughts": ([ASK, TWICE], False),
    "never closed": ([ASK, OPEN], False),
    "blanks": ([ASK, BLANKS], False),
    "parts": ([ASK, PARTS], False),
    # thoughts of turns before the last question are left out
    "second prompt": ([ASK, THOUGHT, AGAIN], True),
    "second answer": ([ASK, THOUGHT, AGAIN, THOUGHT], False),
    "plain, then thought": ([ASK, PLAIN, AGAIN, THOUGHT], False),
    "thought, then plain": ([ASK, THOUGHT, AGAIN, PLAIN], False),
    "three turns": ([SYSTEM, ASK, SAMPLED, LOOK, TWICE, WATCH], True),
    "all kinds before": ([ASK, EMPTY, LOOK, TIGHT, AGAIN, PARTS, LOOK, OPEN, AGAIN, BLANKS, AGAIN], True),
    "continued": ([ASK, THOUGHT], True),
    "two answers": ([ASK, THOUGHT, PLAIN], False),
    "two answers, the first without a thought": ([ASK, PLAIN, THOUGHT], False),
    # a tool's answer is no question: thoughts before it stay
    "tool": ([ASK, THOUGHT, TOOL], True),
    "two tools": ([ASK, THOUGHT, TOOL, TOOL_PICTURE, PLAIN], False),
    "tool twice": ([ASK, THOUGHT, TOOL, THOUGHT, TOOL, THOUGHT, AGAIN], True),
    "told": ([ASK, THOUGHT, TOLD], True),
    "told and answered": ([ASK, THOUGHT, TOLD, PLAIN], False),
    "told in parts": ([ASK, THOUGHT, TOLD_PARTS, THOUGHT], False),
    "half told": ([ASK, THOUGHT, HALF_TOLD, THOUGHT], False),
    "no question": ([SYSTEM, THOUGHT], False),
    "nothing but tools": ([TOLD, THOUGHT], False),
}


def render(template, messages, prompt, numbered):
    made, _ = render_jinja_template(
        [messages], chat_template=template, add_generation_prompt=prompt, add_vision_id=numbered)
    return made[0]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--published", type=Path)
    published = arguments.parse_args().published
    published = published and published.read_text()
    directory = fresh(FIXTURES / "thinking")
    ours, made = TEMPLATE.read_text(), []
    for name, (messages, prompt) in CASES.items():
        for numbered in (False, True):
            found = render(ours, messages, prompt, numbered)
            if published and render(published, messages, prompt, numbered) != found:
                raise ValueError(f"{name}: {found!r}, published {render(published, messages, prompt, numbered)!r}")
            made.append(dict(name=name, messages=messages, add_generation_prompt=prompt, add_vision_id=numbered,
                             text=found))
    write_json(directory / "cases.json", made)
    print(len(made), "cases", published and hashlib.sha256(published.encode()).hexdigest())


if __name__ == "__main__":
    main()
