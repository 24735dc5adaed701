# /// script
# dependencies = ["langchain-text-splitters==1.1.3"]
# ///
"""Writes the chunks that LangChain makes of our sample texts: python3 make_splitter_golden.py > splitter.json

The texts and settings are ours; the chunks are langchain-text-splitters 1.1.3's. `crates/agent/tests/retrieval_split.rs`
compares the port with them.
"""

import json
import sys

from langchain_text_splitters import RecursiveCharacterTextSplitter

WORDS = (
    "roaming lets your phone use a partner network abroad while the bill stays with us and every day pass ends "
    "at midnight local time unless you buy another before then"
).split()


def prose(characters, start=0):
    """Running text of exactly this many characters, never ending in a space."""
    text = ""
    at = start
    while len(text) < characters:
        text += WORDS[at % len(WORDS)] + (". " if at % 11 == 10 else " ")
        at += 1
    text = text[:characters]
    return text[:-1] + "x" if text.endswith(" ") else text


PAGE = "question: How do I set up my router?\nanswer: "

TEXTS = {
    "empty": "",
    "only spaces": " " * 1200,
    "only newlines": "\n" * 1200,
    "short page": PAGE + "Plug it in and wait for the green light.",
    "499 characters": prose(499),
    "exactly 500 characters": prose(500),
    "501 characters": prose(501),
    "long page": PAGE + prose(1400),
    "paragraphs": "\n\n".join(prose(length, length) for length in (120, 300, 60, 499, 500, 501, 1200, 10)),
    "lines": "\n".join(prose(length, length) for length in (90, 250, 249, 251, 500, 700, 5, 5)),
    "steps": PAGE + "\n".join(f"{number}. {prose(70 + number, number)}" for number in range(1, 16)),
    "many newlines": prose(200) + "\n\n\n\n\n" + prose(310) + "\n\n\n" + prose(480) + "\n\n\n\n" + prose(20),
    "windows line ends": "\r\n\r\n".join(prose(length, length) for length in (200, 200, 400, 700)),
    "word of 499": "a" * 499,
    "word of 500": "a" * 500,
    "word of 501": "a" * 501,
    "word of 1750 among words": prose(130) + " " + "b" * 1750 + " " + prose(90),
    "words of exactly 500 and 250": " ".join(["c" * 500, "d" * 250, "e" * 249, "f" * 250]),
    "no spaces, accents": "größerübermäßig" * 90,
    "chinese": "漫游服务需要在出国前开通。" * 80,
    "arabic": "كيف يمكنني تفعيل خدمة التجوال قبل السفر؟ " * 30,
    "emoji": "📶🇩🇪👩‍👩‍👧‍👦 " * 120,
    "emoji without spaces": "👍🏽" * 700,
    "combining marks": "e\u0301" * 600,
    "no-break spaces": ("word\u00a0" * 300) + "\u2003\u3000end\u00a0",
    "information separators": "\x1c\x1d" + prose(600) + "\x1e\x1f",
    "tabs": "\t".join(prose(80, number) for number in range(12)),
    "spaces at the seam": prose(495) + "      " + prose(480) + "  " + prose(30),
    "blank lines of spaces": prose(300) + "\n \n \n" + prose(300) + "\n\n \n\n" + prose(10),
    "mixed": PAGE
    + prose(420)
    + "\n\n- "
    + "https://lauki.example/"
    + "p" * 640
    + "\n- "
    + prose(80)
    + "\n\n\n"
    + "ß" * 510
    + " 📞 "
    + prose(333),
}

# Characters in a chunk, overlap, and how much of each text: small chunks of a long text would only fill the file.
SETTINGS = [(500, 0, None), (500, 50, 1500), (100, 30, 700), (20, 20, 200), (7, 3, 100)]


def main():
    cases = []
    for chunk_size, chunk_overlap, text_characters in SETTINGS:
        splitter = RecursiveCharacterTextSplitter(chunk_size=chunk_size, chunk_overlap=chunk_overlap)
        for name, text in TEXTS.items():
            text = text[:text_characters]
            cases.append(
                {
                    "name": name,
                    "chunk_size": chunk_size,
                    "chunk_overlap": chunk_overlap,
                    "text": text,
                    "chunks": splitter.split_text(text),
                }
            )
    json.dump(cases, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
