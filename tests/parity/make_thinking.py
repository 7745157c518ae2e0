"""What `transformers` renders with the template of our tiny thinking model.

Run `python make_thinking.py`; it rewrites fixtures/thinking.
"""

from common import FIXTURES, fresh, write_json

from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATE = FIXTURES.parent.parent / "crates/vtb-models-vlm/src/tiny/thinking_template.jinja"
ASK = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}
THOUGHT = {"role": "assistant", "content": "<think>\nThe left one is red.\n</think>\n\n<answer>A</answer>"}
PLAIN = {"role": "assistant", "content": "<answer>B</answer>"}
AGAIN = {"role": "user", "content": "Why?"}
WATCH = {"role": "user", "content": [{"type": "video"}, {"type": "image"}, {"type": "text", "text": "Which is first?"}]}
CASES = {
    "prompt": ([ASK], True),
    "system": ([{"role": "system", "content": "Be brief."}, ASK], True),
    "media": ([WATCH], True),
    "answered": ([ASK, THOUGHT], False),
    "answered without a thought": ([ASK, PLAIN], False),
    # the thought of the first turn is left out
    "second prompt": ([ASK, THOUGHT, AGAIN], True),
    "second answer": ([ASK, THOUGHT, AGAIN, THOUGHT], False),
    # a tool's answer is no question: thoughts before it stay
    "tool": ([ASK, THOUGHT, {"role": "user", "content": "<tool_response>7</tool_response>"}, PLAIN], False),
}


def main():
    directory = fresh(FIXTURES / "thinking")
    made = []
    for name, (messages, prompt) in CASES.items():
        for numbered in (False, True):
            text, _ = render_jinja_template(
                [messages], chat_template=TEMPLATE.read_text(), add_generation_prompt=prompt, add_vision_id=numbered)
            made.append(dict(name=name, messages=messages, add_generation_prompt=prompt, add_vision_id=numbered,
                             text=text[0]))
            print(name, repr(text[0]))
    write_json(directory / "cases.json", made)


if __name__ == "__main__":
    main()
