"""A tiny UMT5 encoder in both layouts, what `transformers` computes with it, and a tokenizer with its cleaning.

Run `python make_wan_text.py`; it rewrites fixtures/wan/text. Keys are listed in fixtures/README.md.
"""

import copy
import json
import re
from collections import OrderedDict

from common import FIXTURES, fresh, generator, one_thread, write_json, write_tensors

import ftfy
import torch
from diffusers.pipelines.wan.pipeline_wan_i2v import prompt_clean
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

from make_qwen_image import randomise

ROOT = FIXTURES / "wan" / "text"
SETTINGS = dict(vocab_size=208, d_model=64, d_kv=24, d_ff=96, num_layers=3, num_heads=4)
LENGTHS = {"one": 1, "seven": 7, "long": 200}
TRACED = "seven"

ORIGINAL = [
    (r"^shared", "token_embedding"),
    (r"^encoder\.final_layer_norm", "norm"),
    (r"^encoder\.block\.", "blocks."),
    (r"layer\.0\.layer_norm", "norm1"),
    (r"layer\.1\.layer_norm", "norm2"),
    (r"layer\.0\.SelfAttention\.relative_attention_bias", "pos_embedding.embedding"),
    (r"layer\.0\.SelfAttention", "attn"),
    (r"layer\.1\.DenseReluDense\.wi_0", "ffn.gate.0"),
    (r"layer\.1\.DenseReluDense\.wi_1", "ffn.fc1"),
    (r"layer\.1\.DenseReluDense\.wo", "ffn.fc2"),
]

# The ids of umt5-xxl: pad 0, end 1, start 2 (never written), unknown 3.
SPECIAL = ["<pad>", "</s>", "<s>", "<unk>"]
EXTRA = ["<extra_id_1>", "<extra_id_0>"]
WORDS = ["▁a", "▁the", "▁cat", "▁walks", "▁through", "▁maze", "▁red", "▁green", "▁dot", "▁to", "▁and", "▁video", "ing",
         "er", "th", "in", "an", "wa", "ca", "at", "▁of", "▁slow", "ly", "▁camera", "▁moves", "▁blur", "ry", "&", "amp"]
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'\"-:;()<>/&éïñü£€…—。、色调过曝猫"
TEXTS = [
    "a cat walks through the maze",
    "",
    "  the  red \t dot\n\nmoves\r\nto the   green dot ",
    "cats &amp; dogs &lt;b&gt; &quot;red&quot; &#39;dot&#39; caf&eacute;",
    "double &amp;amp;lt; entity",
    "<b> keeps &amp;amp; entities from ftfy",
    "naïve café",
    "cafe\u0301, in two code points",
    "cafÃ© terrace, mojibake",
    "It costs Â£5, the â€œred dotâ€\u009d said",
    "“curly” quotes, it’s ‘so’",
    "ＦＵＬＬ width，letters！（１２）",
    "色调，过曝。猫、cat",
    "ﬁne ﬂow",
    "wait… a — dash",
    "no\u00a0break\u3000and wide\u2009space",
    "\ufeffthe\u200b cat\u00ad",
    "the\x00 cat\x1b[31m red\x7f",
    "line\u2028separator\u0085next",
    "the 🐈 cat",
    "the</s>cat<extra_id_0>",
]
LONG = "the red cat and the green cat and the video of the maze"


def gain(name):
    if "relative_attention_bias" in name:
        return 2.0  # over the root of 4 heads
    if name.startswith("shared"):
        return 8.0  # over the root of the width
    return 0.6 if name.endswith(("q.weight", "SelfAttention.o.weight", "wo.weight")) else 1.0


@torch.no_grad()
def build(settings, seed):
    """Every parameter random; values that bf16 holds. Attention is eager."""
    model = UMT5EncoderModel._from_config(UMT5Config(**settings), attn_implementation="eager").float().eval()
    randomise(model, seed, gain)
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16().float())
    return model


def write_model(model, directory):
    copy.deepcopy(model).bfloat16().save_pretrained(directory)
    again = UMT5EncoderModel.from_pretrained(directory, dtype=torch.float32)
    if not all(torch.equal(again.state_dict()[n], t) for n, t in model.state_dict().items()):
        raise ValueError("the weights do not read back")


def original(model, path):
    """The layout of the original file, with the `_metadata` that a module's state has, and read back."""
    state = OrderedDict()
    for name, tensor in model.state_dict().items():
        if name == "encoder.embed_tokens.weight":
            continue  # tied
        for pattern, new in ORIGINAL:
            name = re.sub(pattern, new, name)
        state[name] = tensor.bfloat16()
    if any(re.search(r"encoder|layer\.|shared", n) for n in state) or len(state) != len(model.state_dict()) - 1:
        raise ValueError(f"a name was left: {sorted(state)}")
    state._metadata = OrderedDict({"": {"version": 1}})
    torch.save(state, path)
    read = torch.load(path, weights_only=True)
    if not all(torch.equal(read[n], t) for n, t in state.items()):
        raise ValueError("the original file does not read back")


@torch.no_grad()
def make_cases(model):
    rng, tensors, meta = generator(62), {}, {}
    wide = copy.deepcopy(model).double()
    for name, length in LENGTHS.items():
        ids = torch.randint(4, SETTINGS["vocab_size"], (1, length), generator=rng)
        ids[0, -1] = 1
        mask = torch.ones_like(ids)
        out = model(ids, attention_mask=mask, output_hidden_states=name == TRACED)
        states = out.last_hidden_state
        exact = wide(ids, attention_mask=mask).last_hidden_state
        # Padding behind a mask leaves the valid rows as they are.
        padded = torch.nn.functional.pad(ids, (0, 13))
        masked = model(padded, attention_mask=torch.nn.functional.pad(mask, (0, 13))).last_hidden_state[:, :length]
        meta[name] = dict(
            length=length, std=float(states.std()), f32_rounding=float((states - exact).abs().max()),
            padding_moves_states_by=float((states - masked).abs().max()),
        )
        if meta[name]["padding_moves_states_by"] > 1e-5:
            raise ValueError(f"{name}: padding moves the states")
        tensors |= {f"{name}.ids": ids[0], f"{name}.last": states[0]}
        if name == TRACED:
            tensors |= {f"{name}.hidden.{i}": h[0] for i, h in enumerate(out.hidden_states[:-1])}
    ids = tensors["long.ids"][None]
    mistakes = {"erf_gelu": lambda m: [setattr(b.layer[1].DenseReluDense, "act", torch.nn.GELU())
                                       for b in m.encoder.block],
                "bias_of_first_layer_everywhere": lambda m: [
                    setattr(b.layer[0].SelfAttention, "relative_attention_bias",
                            m.encoder.block[0].layer[0].SelfAttention.relative_attention_bias)
                    for b in m.encoder.block]}
    meta["sensitivity"] = {}
    for name, change in mistakes.items():
        other = copy.deepcopy(model)
        change(other)
        gap = (other(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0] - tensors["long.last"]).abs().max()
        meta["sensitivity"][name] = float(gap)
    return tensors, meta


def write_tokenizer(directory):
    """Unigram pieces with fixed scores, words before characters; spaces become ▁, one in front."""
    directory.mkdir()
    pieces = [(t, 0.0) for t in SPECIAL] + [("▁", -3.0)]
    pieces += [(w, -4.0 - 0.125 * i) for i, w in enumerate(dict.fromkeys(WORDS))]
    pieces += [(c, -10.0 - 0.0625 * i) for i, c in enumerate(CHARACTERS) if c not in WORDS]
    pieces += [(t, 0.0) for t in EXTRA]
    if len(pieces) > SETTINGS["vocab_size"] or len(dict(pieces)) != len(pieces):
        raise ValueError(f"{len(pieces)} pieces, {len(dict(pieces))} of them different")
    words = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    words.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    words.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    words.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    words.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL + EXTRA])
    words.save(str(directory / "tokenizer.json"))
    named = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
                 additional_special_tokens=sorted(EXTRA))
    write_json(directory / "special_tokens_map.json", named, indent=2)
    write_json(directory / "tokenizer_config.json", named | dict(
        tokenizer_class="T5TokenizerFast", extra_ids=len(EXTRA), model_max_length=512,
        clean_up_tokenization_spaces=True), indent=2)
    return words


def table(directory):
    """Cleaned texts and ids by `tokenizer.json` as it stands, beside them what the class of transformers 5 gives."""
    words, auto = Tokenizer.from_file(str(directory / "tokenizer.json")), AutoTokenizer.from_pretrained(directory)
    rows = []
    for text in TEXTS:
        fixed = ftfy.fix_and_explain(text)
        cleaned = prompt_clean(text)
        row = dict(text=text, ftfy=fixed.text, ftfy_steps=[" ".join(s) for s in fixed.explanation or []],
                   cleaned=cleaned, ids=words.encode(cleaned).ids)
        theirs = auto(cleaned).input_ids
        if theirs != row["ids"]:
            if [2 if i == 3 else i for i in row["ids"]] != theirs:
                raise ValueError(f"{text!r}: {row['ids']} here, {theirs} there")
            row["transformers_5_ids"] = theirs
        rows.append(row)
    padded = [auto(t, padding="max_length", max_length=12, truncation=True) for t in (LONG, "the cat")]
    return dict(texts=rows, unknown_id=3, padded=[
        dict(text=t, max_length=12, ids=p.input_ids, mask=p.attention_mask) for t, p in zip((LONG, "the cat"), padded)])


def main():
    fresh(ROOT)
    model = build(SETTINGS, 61)
    write_model(model, ROOT)
    original(model, ROOT / "original.pth")
    tensors, meta = make_cases(model)
    write_tensors(ROOT / "cases.safetensors", tensors)
    write_json(ROOT / "cases.json", meta)
    write_tokenizer(ROOT / "tokenizer")
    rows = table(ROOT / "tokenizer")
    write_json(ROOT / "texts.json", rows)
    print(json.dumps(meta))


if __name__ == "__main__":
    one_thread()
    main()
