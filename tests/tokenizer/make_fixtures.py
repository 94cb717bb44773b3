"""Makes smollm2_texts.json.gz: 1,000 texts in many scripts, and their SmolLM2 token ids.

    python tests/tokenizer/make_fixtures.py SmolLM2-135M-Instruct.Q4_1.gguf --llama-python PYTHON

PYTHON is one that can import llama_cpp (`make peers`). Two judges that share no code with ours:

published   The rules of the model's published tokenizer.json (byte-level BPE; digits are split
            one by one before GPT-2's pattern cuts the rest), written down below and run by the
            `tokenizers` library, as transformers does. The vocabulary and the merges are read from
            the GGUF with the gguf package.
llama.cpp   Its own tokenizer of type "smollm", on the same file.

The published rules are the model's: it learnt from the ids they gave. So the tests hold ours to
them; "llama" stands beside a text only where llama.cpp gives other ids. Over 95,000 texts (this
file's with twelve other seeds, and each code point of the first two planes in a short context) the
two differ in two things:

- The vocabulary lacks 21 bytes, among them 0x04, 0x06, 0x13, 0x14, 0x16, 0x1d, 0xf1 and 0xf2. The
  published rules drop them before merging, so that their neighbours may merge; llama.cpp drops
  them after, so that they don't. The kind "bytes that lack" holds such texts.
- Digits that Unicode 16 brought are digits to `tokenizers` and not yet to llama.cpp. That changes
  with either's version, so the texts keep to Unicode 14, which is Python 3.11's.
"""

import argparse
import gzip
import json
import random
import subprocess
import unicodedata
from pathlib import Path

from gguf import GGUFReader, ReaderField
from tokenizers import Tokenizer

FIXTURE = Path(__file__).with_name("smollm2_texts.json.gz")
NUM_TEXTS = 1000

LLAMA = """
import json, sys
from llama_cpp import Llama
llama = Llama(sys.argv[1], vocab_only=True, verbose=False)
texts = json.load(sys.stdin)
ids = (llama.tokenize(text.encode(), add_bos=False, special=False) for text in texts)
json.dump(list(ids), sys.stdout)
"""

# Where each script's characters lie; unassigned ones are left out when texts are drawn.
SCRIPTS = {
    "Latin": [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F)],
    "Latin extended": [(0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA720, 0xA7BF)],
    "IPA": [(0x250, 0x2AF), (0x1D00, 0x1D7F)],
    "Greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "Cyrillic": [(0x400, 0x52F), (0x2DE0, 0x2DFF)],
    "Armenian": [(0x531, 0x58A)],
    "Hebrew": [(0x591, 0x5F4)],
    "Arabic": [(0x600, 0x6FF), (0x750, 0x77F), (0xFE70, 0xFEFC)],
    "Syriac": [(0x700, 0x74F)],
    "Thaana": [(0x780, 0x7B1)],
    "N'Ko": [(0x7C0, 0x7FA)],
    "Devanagari": [(0x900, 0x97F)],
    "Bengali": [(0x980, 0x9FE)],
    "Gurmukhi": [(0xA01, 0xA76)],
    "Gujarati": [(0xA81, 0xAFF)],
    "Tamil": [(0xB82, 0xBFA)],
    "Telugu": [(0xC00, 0xC7F)],
    "Kannada": [(0xC80, 0xCF2)],
    "Malayalam": [(0xD00, 0xD7F)],
    "Sinhala": [(0xD81, 0xDF4)],
    "Thai": [(0xE01, 0xE5B)],
    "Lao": [(0xE81, 0xEDF)],
    "Tibetan": [(0xF00, 0xFDA)],
    "Myanmar": [(0x1000, 0x109F)],
    "Georgian": [(0x10A0, 0x10FF), (0x1C90, 0x1CBF)],
    "Ethiopic": [(0x1200, 0x137C)],
    "Cherokee": [(0x13A0, 0x13FD)],
    "Khmer": [(0x1780, 0x17F9)],
    "Mongolian": [(0x1800, 0x1878)],
    "Hiragana and Katakana": [(0x3041, 0x30FF), (0xFF66, 0xFF9D)],
    "Han": [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF)],
    "Hangul": [(0xAC00, 0xD7A3), (0x1100, 0x11FF)],
    "Gothic": [(0x10330, 0x1034A)],
    "Cuneiform": [(0x12000, 0x12399), (0x12400, 0x1246E)],
    "Mathematics": [(0x2200, 0x22FF), (0x1D400, 0x1D7FF), (0x2070, 0x209C), (0x2150, 0x218B)],
    "Symbols": [(0x2190, 0x21FF), (0x2500, 0x26FF), (0x20A0, 0x20C0), (0x2460, 0x24FF)],
}

SENTENCES = (
    "The compost heap steamed all through February, and we turned it twice.",
    "I can't say they've seen what we'll do; she'd rather wait, it's Tom's.",
    "WE'LL SEE WHAT THEY'VE DONE, IT'S OURS AND I'M SURE YOU'RE RIGHT.",
    "Où est-ce qu’on range les pommes de terre ? « À la cave », dit-elle.",
    "Die Straßenbahn fuhr über die Brücke, und niemand grüßte den Schaffner.",
    "El niño señaló la cigüeña: «¡Mira, vuela hacia el sur!»",
    "Il nonno potò l'olivo perché l'inverno era stato mite.",
    "A geada queimou as couves, mas o limoeiro aguentou até março.",
    "Zażółć gęślą jaźń, a potem napij się herbaty z malinami.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Árvíztűrő tükörfúrógép és egy csésze kávé.",
    "Pijamalı hasta yağız şoföre çabucak güvendi; İzmir'e ısındı.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Жебракують філософи при ґанку церкви в Гадячі.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "דג סקרן שט בים מאוכזב ולפתע מצא לו חברה.",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر.",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले।",
    "আমি বাংলায় গান গাই, আমি বাংলার গান গাই।",
    "நீர் வளையில் ஆடும் கருமேகங்கள்.",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "色は匂へど散りぬるを我が世誰ぞ常ならむ。",
    "視野無限廣,窗外有藍天。",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "Tôi có thể ăn thủy tinh mà không hại gì.",
    "Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa.",
    "ვეპხის ტყაოსანი შოთა რუსთაველი",
    "Բել դղյակի ձախ ժամն օֆ ազգությանը ցպահանջ չճշտած վնաս էր եւ փառք։",
    "ሰማይ አይታረስ ንጉሥ አይከሰስ።",
    "The tea cost £3.50 (about €4.10), i.e. 12% more than on 2023-11-05 at 17:45.",
)

CODE = (
    "def gate(z):\n    return 1.0 / (1.0 + math.exp(-z))  # σ\n",
    "for (size_t i = 0; i < n; ++i) {\n\ty[i] += w[i] * x[i];\n}\n",
    "SELECT note, COUNT(*) AS n FROM passages WHERE owner != 'ada' GROUP BY 1;",
    '{"key": [1, 2.5e-3, null, true], "text": "\\u00e9\\n"}',
    "<div class=\"note\" data-id='42'>&lt;b&gt;</div><!-- end -->",
    "#include <immintrin.h>\nstatic __m512 lanes = _mm512_setzero_ps();\r\n",
    "let f = |x: &str| -> Option<u8> { x.parse().ok() }; // fn",
    "git log --oneline | awk '{print $1}' | xargs -n1 echo > out.txt 2>&1",
    "| name | value |\n|------|------:|\n| a    |  1.50 |\n",
    "- [ ] buy peat-free compost\n- [x] prune #tag @home [[link]]\n\n---\n",
    "https://example.org/a/b_c?d=1&e=%20#frag",
    "\\begin{align} x_{t+1} &= \\alpha x_t^2 \\\\ \\end{align}",
    "λx.λy.(x y) ≡ ∀α. α→α ∧ ¬∃β",
    "x = a?.b ?? c !== d ** e >>> 3;",
)

SPACES = " \t\n\r\v\f\u00a0\u1680\u2003\u2009\u200b\u2028\u2029\u202f\u205f\u3000\x85"
EMOJI = "👩🏽‍🌾 👨‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇯🇵 1️⃣ ❤️ ❤︎ 🧑🏿‍🚀 🏴󠁧󠁢󠁥󠁮󠁧󠁿 😀 🥕 ☔ ✍🏻 🐈‍⬛ ©️ #️⃣".split(" ")
SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<repo_name>",
    "<file_sep>",
    "<jupyter_text>",
)


def assigned(ranges: list[tuple[int, int]]) -> list[str]:
    every = (chr(point) for first, last in ranges for point in range(first, last + 1))
    return [one for one in every if unicodedata.category(one) not in ("Cn", "Cs", "Co")]


def make_texts() -> list[tuple[str, str]]:
    """Returns (kind, text) pairs, all different, the same ones on every run."""
    draw = random.Random(20)
    made: dict[str, str] = {}

    def add(kind: str, count: int, make) -> None:
        wanted = len(made) + count
        while len(made) < wanted:
            made.setdefault(make(), kind)

    def word(characters: list[str], longest: int = 9) -> str:
        return "".join(draw.choice(characters) for _ in range(draw.randint(1, longest)))

    def number() -> str:
        return draw.choice(
            (
                str(draw.randint(0, 10 ** draw.randint(1, 30))),
                f"{draw.uniform(-1e6, 1e6):,.{draw.randint(0, 6)}f}",
                f"{draw.random():.3e}",
                hex(draw.randint(0, 1 << 40)),
                f"{draw.randint(1, 31)}/{draw.randint(1, 12)}/{draw.randint(1900, 2100)}",
                f"v{draw.randint(0, 9)}.{draw.randint(0, 99)}.{draw.randint(0, 999)}-rc1",
                "".join(draw.choice("0123456789٠١٢٣٤۵६৭௮๙〇四½¾²³₄Ⅷⅻ①㊿𝟘𝟡") for _ in range(8)),
            )
        )

    def mixed(parts: list[str]) -> str:
        return "".join(draw.sample(parts, draw.randint(2, len(parts))))

    for name, ranges in SCRIPTS.items():
        letters = assigned(ranges)
        between = ["", " ", " ", " ", "  ", ", ", ". ", "-", "'", "\n", "1", " 23 "]
        add(
            name,
            11,
            lambda letters=letters, between=between: "".join(
                word(letters) + draw.choice(between) for _ in range(draw.randint(1, 12))
            ),
        )
    for sentence in SENTENCES:
        add("sentence", 1, lambda sentence=sentence: sentence)
    for code in CODE:
        add("code", 1, lambda code=code: code)

    def joined(parts: tuple[str, ...]) -> str:
        return draw.choice(("", " ", "\n", "\n\n", "\t", "    ", "\r\n")).join(
            draw.sample(parts, draw.randint(2, 4))
        )

    add("sentences", 60, lambda: joined(SENTENCES))
    add("code and text", 50, lambda: joined(CODE + SENTENCES))
    add("cut sentence", 40, lambda: (s := draw.choice(SENTENCES))[draw.randint(0, len(s) - 2) :])
    add("numbers", 60, lambda: " ".join(number() for _ in range(draw.randint(1, 6))))
    add("digits and letters", 30, lambda: mixed([number(), "abc", " x", "٣", "β", "%", " ", "日"]))
    add(
        "spaces",
        55,
        lambda: "".join(
            draw.choice(SPACES + " " * 20 + "\n" * 5 + "ab1.é") for _ in range(draw.randint(1, 30))
        ),
    )
    add("emoji", 40, lambda: mixed([*draw.sample(EMOJI, 5), " ", "ok", "\u200d", "\ufe0f"]))
    marks = assigned([(0x300, 0x36F), (0x1AB0, 0x1ACE), (0x20D0, 0x20F0), (0x483, 0x489)])
    add(
        "combining marks",
        40,
        lambda: "".join(
            draw.choice("aeoun yе1'")
            + "".join(draw.choice(marks) for _ in range(draw.randint(0, 4)))
            for _ in range(draw.randint(2, 15))
        ),
    )
    turns = ["\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u2066", "\u2067", "\u2069"]
    add(
        "mixed directions",
        40,
        lambda: mixed([*draw.sample(turns, 3), "שלום", " abc ", "مرحبا", " 12 ", "(", ")", "א1ب"]),
    )
    controls = [chr(point) for point in (*range(0x20), *range(0x7F, 0xA0), 0xAD, 0xFEFF, 0xFFFE)]
    add("control characters", 40, lambda: mixed([*draw.sample(controls, 8), "a", " ", "b c"]))
    quotes = ["'s", "'S", "’s", "'ll", "'LL", "'re", "'d", "''", " '", "it", "I", "é", " ", "1"]
    lacking = ["\x04", "\x13", "\x1d", "\U00040000", "\U0008fffd"]
    signs = [" ", "-", "=", "–", "…", "\x80", "a", "1"]
    add("bytes that lack", 20, lambda: mixed([*lacking, *draw.choices(signs, k=12)]))
    add("apostrophes", 20, lambda: mixed(quotes))
    add(
        "control tokens as text", 25, lambda: mixed([*SPECIAL, "<|im_", "end|>", "\n", "user", " "])
    )
    every = assigned([(0x20, 0x323AF)])
    add("any characters", 40, lambda: word(every, 12))
    rest = NUM_TEXTS - len(made)
    add("letters and signs", rest, lambda: "".join(chr(draw.randint(32, 126)) for _ in range(40)))
    return [(kind, text) for text, kind in made.items()]


def strings_of(field: ReaderField) -> list[str]:
    return [field.parts[place].tobytes().decode() for place in field.data]


def published_tokenizer(model: Path) -> Tokenizer:
    """Returns the tokenizer whose tokenizer.json the model's authors published."""
    fields = GGUFReader(model).fields
    tokens = strings_of(fields["tokenizer.ggml.tokens"])
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = strings_of(fields["tokenizer.ggml.merges"])
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    described = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind == 3
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                byte_level | {"use_regex": True},
            ],
        },
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }
    return Tokenizer.from_str(json.dumps(described))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--llama-python", required=True, help="a python that has llama_cpp")
    arguments = parser.parse_args()
    if unicodedata.unidata_version != "14.0.0":
        raise SystemExit("the texts are those that Python 3.11 makes, with its Unicode 14")
    texts = make_texts()
    published = published_tokenizer(arguments.model)
    # Control tokens in a text are spelt out, as llama.cpp does without `special`.
    published.encode_special_tokens = True
    llama = subprocess.run(
        [arguments.llama_python, "-c", LLAMA, arguments.model],
        input=json.dumps([text for _, text in texts]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = []
    for (kind, text), llama_ids in zip(texts, json.loads(llama.stdout), strict=True):
        ids = published.encode(text, add_special_tokens=False).ids
        row = {"kind": kind, "text": text, "ids": ids}
        rows.append(row if ids == llama_ids else row | {"llama": llama_ids})
    packed = json.dumps(rows, ensure_ascii=True, separators=(",", ":")).encode()
    FIXTURE.write_bytes(gzip.compress(packed, 9, mtime=0))
    unlike = [row["kind"] for row in rows if "llama" in row]
    print(f"{len(rows)} texts, {FIXTURE.stat().st_size} bytes; llama.cpp differs in {len(unlike)}")
    for kind in sorted(set(unlike)):
        print(f"  {kind}: {unlike.count(kind)}")


if __name__ == "__main__":
    main()
