#!/usr/bin/env python3
"""Writes tests/data/metric_pairs.jsonl: pairs of strings, and what LongBench's metrics give for them.

    python3 -m venv venv && venv/bin/pip install rouge==1.0.1 fuzzywuzzy==0.18.0 jieba==0.42.1
    venv/bin/python tools/metric_pairs.py > tests/data/metric_pairs.jsonl

The scores come from the packages that LongBench calls (rouge, fuzzywuzzy, Python's difflib and re), combined as its
metrics.py describes: {"metric", "answer", "reference", "classes", "score"}. fuzzywuzzy must find no python-Levenshtein,
which LongBench does not ask for: with it, ratio() is another number. The strings are drawn by a seed.

The last lines, "f1_jieba" and "rouge_l_jieba", score Chinese pairs by jieba's words: test_metric says by how much our
scores by characters differ from them.
"""
import collections
import json
import logging
import random
import re
import string
import sys
import warnings

warnings.filterwarnings("ignore", "Using slow pure-python SequenceMatcher")

import jieba
from fuzzywuzzy import fuzz
from rouge import Rouge

jieba.setLogLevel(logging.ERROR)
RNG = random.Random(20260131)

WORDS = """the a an The AN of river Heron, paragraph 12 7 42 3.5 don't U.S.A. naïve Ærø ÉCOLE straße STRASSE İstanbul Σίσυφος ΟΔΟΣ
    ﬁre co-operate x_y (see) "quoted" — … 「引用」 東京 ２３ ٣٤ 🙂 e.g. answer answer: Yes no No. and or but it's its it`s don´t a.b
    one two two two three""".split()
CHINESE = """北京大学位于海淀区。|会议讨论了明年的预算，并决定推迟搬迁。|他说：“我们需要更多时间！”|2023年，公司收入增长了15%。|
    这段文字的主要内容是介绍城市规划。|段落3|段落12|答案是段落７。|新闻类别：体育|小明和小红一起去图书馆看书|
    GPT-4模型在中文任务上表现良好|杭州西湖，风景优美；游客很多。|主持人总结了各部门的发言""".replace("\n", "").split("|")
CODE = ["return self.value", "    for (int i = 0; i < n; i++) {", "x = y + z", "# comment", "// comment", "```python",
        "printf(\"%d\\n\", count);", "}", "", "def main():", "    return [item for item in items if item.is_valid()]"]
SPACES = [" ", " ", " ", "  ", "\n", "\t", "\u00a0", "\u3000", "\u2003", "\x1c", "\u200b"]
CLASSES = ["Animal", "Animal habitat", "City", "City name", "Date", "Abbreviation", "Number", "Number of pages"]


# ---- LongBench's metrics, from the packages it uses --------------------------------------------------------------------


def f1_of(answer, reference):
    same = sum((collections.Counter(answer) & collections.Counter(reference)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(answer), same / len(reference)
    return 2 * precision * recall / (precision + recall)


def english(text):
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


CHINESE_PUNCTUATION = set("！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
                          + string.punctuation)


def chinese(words):
    bare = ["".join("".join(c for c in word.lower() if c not in CHINESE_PUNCTUATION).split()) for word in words]
    return [word for word in bare if word]


def rouge_l(answer, reference):
    try:
        return Rouge().get_scores([answer], [reference], avg=True)["rouge-l"]["f"]
    except ValueError: # an empty text
        return 0.0


def share(answer, wanted):
    numbers = re.findall(r"\d+", answer)
    return sum(number == wanted for number in numbers) / len(numbers) if numbers else 0.0


def retrieval(answer, reference, label):
    return share(answer, re.findall(label + r"(\d+)", reference)[0])


def code(answer, reference):
    lines = answer.lstrip("\n").split("\n")
    line = next((line for line in lines if "`" not in line and "#" not in line and "//" not in line), "")
    return fuzz.ratio(line, reference) / 100


def classification(answer, reference, classes):
    named = [name for name in classes if name in answer]
    for name in named: # the list changes under the loop, as in LongBench
        if name in reference and name != reference:
            named.remove(name)
    return 1 / len(named) if reference in named else 0.0


# ---- strings ---------------------------------------------------------------------------------------------------------


def sentence(most):
    words = [RNG.choice(WORDS) for _ in range(RNG.randrange(most + 1))]
    return "".join(word + RNG.choice(SPACES) + RNG.choice(["", "", "", ". ", "."]) for word in words)


def changed(text):
    """A text near another one."""
    parts = re.split(r"(\s+)", text)
    for _ in range(RNG.randrange(4)):
        if parts:
            parts[RNG.randrange(len(parts))] = RNG.choice(WORDS + ["", " "])
    return "".join(parts)


def letters(n, alphabet):
    return "".join(RNG.choice(alphabet) for _ in range(n))


def pairs(most):
    text = sentence(most)
    return RNG.choice([(text, changed(text)), (text, sentence(most)), (changed(text), text)])


def line(metric, answer, reference, score, classes=None):
    print(json.dumps({"metric": metric, "answer": answer, "reference": reference, "classes": classes, "score": score},
                     ensure_ascii=True))


def english_pairs():
    for most in [0, 1, 3, 8, 20, 60] * 10:
        answer, reference = pairs(most)
        line("f1", answer, reference, f1_of(english(answer), english(reference)))
        answer, reference = pairs(most)
        line("rouge_l", answer, reference, rouge_l(answer, reference))
    for text in ("", ".", "...", " . ", "a. b. c", "A\u0301n the\u0301", "an-a_the", "\u00aa a \u00b2"):
        for other in ("", "a. b", "...", "c b a. a b c"):
            line("f1", text, other, f1_of(english(text), english(other)))
            line("rouge_l", text, other, rouge_l(text, other))


def code_pairs():
    for _ in range(40):
        answer = RNG.choice(["", "\n", "\n\n"]) + "\n".join(RNG.choice(CODE) for _ in range(RNG.randrange(4)))
        reference = RNG.choice(CODE)
        line("code", answer, reference, code(answer, reference))
    for n in [1, 5, 50, 150, 198, 199, 200, 201, 250, 300, 400] * 5: # from 200 characters on, popular ones do not count
        alphabet = RNG.choice(["ab", "abcdefgh", string.ascii_letters + " ", "äöü日本語🙂 ab"])
        reference = letters(n, alphabet)
        answer = RNG.choice([reference[n // 3:] + reference[:n // 3], letters(n, alphabet), reference[::2]])
        line("code", answer, reference, code(answer, reference))


def number_pairs():
    for _ in range(30):
        answer, wanted = sentence(8), RNG.choice(["12", "7", "42", "23", "٣٤", "２３"])
        line("count", answer, wanted, share(answer, wanted))
        line("retrieval", answer, f"Paragraph {wanted}", retrieval(answer, f"Paragraph {wanted}", "Paragraph "))
        answer = RNG.choice(CHINESE) + RNG.choice(CHINESE)
        wanted = RNG.choice(["3", "12", "７"])
        line("retrieval_zh", answer, f"段落{wanted}", retrieval(answer, f"段落{wanted}", "段落"))


def class_pairs():
    for _ in range(40):
        answer = " ".join(RNG.choice([*CLASSES, "or", "nothing"]) for _ in range(RNG.randrange(5)))
        reference, classes = RNG.choice(CLASSES), RNG.sample(CLASSES, len(CLASSES))
        line("classification", answer, reference, classification(answer, reference, classes), classes)


def chinese_pairs():
    for _ in range(40):
        reference = "".join(RNG.choice(CHINESE) for _ in range(RNG.randrange(1, 4)))
        cut = RNG.randrange(len(reference))
        answer = RNG.choice([reference[cut:], reference[:cut] + RNG.choice(CHINESE), RNG.choice(CHINESE)])
        words = [list(jieba.cut(text, cut_all=False)) for text in (answer, reference)]
        line("f1_jieba", answer, reference, f1_of(chinese(words[0]), chinese(words[1])))
        line("rouge_l_jieba", answer, reference, rouge_l(" ".join(words[0]), " ".join(words[1])))


def main():
    if fuzz.SequenceMatcher.__module__ != "difflib":
        return "python-Levenshtein is installed here: fuzz.ratio would not be LongBench's"
    english_pairs()
    code_pairs()
    number_pairs()
    class_pairs()
    chinese_pairs()


if __name__ == "__main__":
    sys.exit(main())
