"""Labels that would like to be something else, and what is to be seen of them.

One list for all sinks.  `shown` says what viz.labels promises, without its code.
"""

from __future__ import annotations

# fmt: off
LABELS = (
    # ── HTML, SVG, XML ──
    "<script>alert(1)</script>", "</script>", "</script><img src=x onerror=pwned=1>",
    "<!--<script>", "<!--", "<!-- a", "-->", "--> x", "--!>", "]]>", "<![CDATA[", "<?xml?>",
    '<?xml version="1.0"?>', "<?php", "<!DOCTYPE html>", "<!ENTITY x SYSTEM 'file:///'>", "&x;",
    "<img src=x onerror=alert(1)>", "<svg onload=pwned=1>", "<svg/onload=pwned=1//", "</svg>",
    "</title><script>pwned=1</script>", "</style><script>pwned=1</script>", "</textarea>",
    "</pre><h1>", "</option></select>", "</td></table>", "</bdi><b>", "<plaintext>",
    "<base href=//x>", "<iframe srcdoc='<script>pwned=1</script>'>",
    "<a href=javascript:pwned=1>x</a>",
    "<math><mi xlink:href=javascript:pwned=1>", "<details open ontoggle=pwned=1>", "<b>bold</b>",
    "<b", "< b", "<>", "<", ">", '"><script>pwned=1</script>', "'><svg onload=pwned=1>",
    "javascript:alert(1)", "JaVaScRiPt:pwned=1", "java\nscript:pwned=1", "vbscript:x",
    "data:text/html,<script>pwned=1</script>", '" onload="alert(1)', "' onload='alert(1)",
    '" autofocus onfocus="pwned=1', "`onclick=pwned=1`",
    "&", "&lt;b&gt;", "&amp;amp;", "&#60;i&#62;", "&#x3c;i>", "&quot;", "&nope;", "&#0;",
    "&#xD800;",
    # ── quotes, backslashes, escapes of DOT, JSON, CSS and templates ──
    '"', "'", '""', '"""', "“”‘’«»", "\\", "\\\\", "\\\\\\", 'a\\"', "\\'", "ends in \\",
    "\\N", "\\G \\T \\H \\E \\L", "\\l\\r\\n", '"];\n}', '"];n1[URL="javascript:pwned=1"];//',
    '", URL="javascript:alert(1)", label="', ', URL="javascript:alert(1)", x="',
    "<<table><tr><td>x</td></tr></table>>", "{a|b}", "{a|{b|<p>c}}", "n1 -> n0", "a--b", "//",
    "/* x", "# x", "digraph {}", "\\u2028", "\\u0000", "\\u003c/script>", "\\x3c", '"}]}</script>',
    '","queries":["', "null", "NaN", "__proto__", "constructor", "toString", "hasOwnProperty",
    "}*{display:none}", "url(http://evil.test/x)", "expression(pwned=1)", "@import 'x'", "*/ x",
    "$title", "$data", "${x}", "$$", "$", "%s", "%(x)s", "{0}", "{}", "{x!r}", "{{ x }}", "{% x %}",
    "#{x}", "<%= x %>", "$x^2$", "$\\frac{", "$$x$$", "$`x`$", "^_{x}", "_{*}", "100%", "%PDF-1.4",
    "%!PS", "endstream", "(x) Tj", "=1+1", "; rm -rf /", "$(x)", "[bold]x[/bold]",
    "[link=x]y[/link]",
    # ── Markdown ──
    "|", "| a | b |", "a | b", "\\|", "`", "`x`", "``x", "```", "```text", "~~~", "**x**", "*x*",
    "__x__", "_x_", "~~x~~", "***", "---", "===", "> x", "- x", "+ x", "* x", "- [ ] x", "1. x",
    "1) x", "## x", "    x", "[x](javascript:alert(1))", "![x](http://evil.test)", "[x][y]",
    "[x]: http://evil.test", "[^1]", "[^1]: x", "<http://evil.test>", "http://evil.test/x",
    "https://evil.test", "ftp://evil.test", "www.evil.test", "evil.com", "a@evil.test",
    "mailto:a@evil.test", "xmpp:a@evil.test", "<details>", "<br>", ":smile:", "@user", "#1", "GH-1",
    # ── characters ──
    "", " ", "  ", " x ", "x  y", "two  spaces   three", "\u3000", "\u00a0", "\t", "\n", "\r\n",
    "line\nbreak\ttab", "x\r\n# y", "\v\f", "nul\0nul", "\0", "\x08\x08", "\x1b[31mred",
    "\x1b]8;;http://evil.test\x07x", "\x9b31m", "\x7f\x85", "\x1a", "\u2028para\u2029", "\u2028x",
    "\ud800", "\ud800 alone", "\udfff", "\ud83d\ude00", "\udc00\ud800", "\ufffe\uffff", "\ufdd0",
    "\U0001fffe", "\U0010ffff", "\ufffd", "\u202egnp.exe", "\u202a\u202b\u202c\u202dx",
    "\u2066isolate", "\u2067\u2068\u2069", "\u200fmark", "\u200emark", "\u061cmark",
    "שלום", "مرحبا 12", "a שלום b",
    "\ufeffbom", "zero\u200bwidth", "soft\u00adhyphen", "\ufff9a\ufffab\ufffb", "\U000e0041tag",
    "\ue000private", "한국어", "각", "é e\u0301", "Z\u0351\u036b\u0343\u036a" * 3, "\u0301",
    "👩‍🔬", "🏳️‍🌈", "❤\ufe0f", "👍🏽", "🇰🇷", "ﷺ", "ıİſ", "\u212a", "dA = dY Bᵀ ∘ √σ", "⏎ ⇥ …", "␣",
    # ── length ──
    "x" * 20_000, "\\" * 20_001, "<" * 20_000, "<" * 61, "[" * 60, "`" * 60, "y" * 60, "y" * 61,
    "\ud800" * 20_000, "e" + "\u0301" * 20_000, "한" * 20_000, "x y " * 5_000, "\n" * 20_000,
    "👩‍🔬" * 5_000,
)
# fmt: on
assert len(set(LABELS)) == len(LABELS) > 60

# Line breaks and tabs become signs; what no picture can show becomes the replacement character:
# control characters, lone surrogates, non-characters, marks that turn the direction of what follows
SEEN_AS = {"\n": "⏎", "\t": "⇥"} | dict.fromkeys(
    "\0\x07\x08\v\f\r\x1a\x1b\x7f\x85\x9b\ud800\ud83d\udc00\ude00\udfff\ufdd0\ufffe\uffff\U0001fffe"
    "\U0010ffff\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    "\ufffd",
)


def shown(text: str, limit: int = 60) -> str:
    """What is to be seen of any text: cut to `limit` characters, replaced sign by sign."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(SEEN_AS.get(sign, sign) for sign in text)


def titled(text: str) -> str:
    """What is to be seen of a name: nothing and blanks are quoted."""
    return shown(text) if shown(text).strip() else repr(shown(text))
