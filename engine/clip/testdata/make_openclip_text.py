#!/usr/bin/env python3
"""Makes openclip_text.json.gz: strings and what open_clip's tokenizer cleans them to. Strings in which ftfy undoes a wrong encoding are
left out, since Go does not.

Made with open_clip_torch 3.3 and ftfy 6.3.

    python3 make_openclip_text.py
"""
import gzip
import html
import json
import os
import random

import ftfy
from open_clip.tokenizer import _clean_lower

here = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(5)
PIECES = """a photo of the CAT it’s “quoted” ‘single’ ‚low‛ „double‟ ʼn ﬁne oﬃce ﬂower ﬅop Ǆ ǲ ĳs ŉ ＣＡＴ　ｄｏｇ！ ﾊﾝｶｸ ￥ &amp; &lt;b&gt; &quot;x&quot; &rsquo; &hellip; … &eacute;t&EACUTE;
&nbsp; &#39; &#x2019; &amp;amp; &amp;amp;lt; &notit; &bogus; &SZLIG; &copy R&D a&b <b> <br/> ΣΊΣΥΦΟΣ Σ ΑΣ. İstanbul STRASSE ẞ café cafe\u0301 東京 привет 안녕 ㅠㅠ \u200b \u200d \ufeff \u0085 \u0093x\u0094
\u0080 \u009d \x07 \x1b[31mred\x1b[0m \x7f \u206a \u2028 \u2029 \r \r\n \n \t \x0b \x0c \x1c \u00a0 \u3000 😀 ½ ² ™ ® &trade; &frac12; &Alpha; &NTILDE; &semi;""".split(" ")


def text():
    return "".join(rng.choice(PIECES).strip("\n") + rng.choice(["", " ", "  ", "\n", ""]) for _ in range(rng.randint(0, 10)))


cases = []
while len(cases) < 1500:
    t = text()
    if ftfy.fix_text(t) != ftfy.fix_text(t, fix_encoding=False):
        continue
    cases.append({"text": t, "clean": _clean_lower(t)})
with gzip.GzipFile(os.path.join(here, "openclip_text.json.gz"), "wb", mtime=0) as f:
    f.write(json.dumps(cases).encode())
