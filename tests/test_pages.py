"""The web pages in a real browser: Chromium, driven by Playwright, without a network. tools/deps.sh --test provides both;
skipped where one of them, or gnuplot, is missing. test_pages.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import random
import shutil
import subprocess
import sys
import unittest

import damage
from browser import MISSING, SKIPPED, Browser
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

TEXT = "the room in the rain is on a string again\nand the heron sings to the iron ring\n" * 3
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


class Pages(Browser, InFolder):
    SPEC = "bpe-smollm"  # of the model

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ORIGIN = "file://" + cls.folder
        cls.model, cls.judge = cls.path("model.gguf"), cls.path("judge.gguf")
        subprocess.run([MAKE_FIXTURE, "model", cls.SPEC, cls.model], check=True)
        subprocess.run([MAKE_FIXTURE, "judge", cls.model, cls.judge], check=True)
        cls.start_browser()

    @classmethod
    def path(cls, *names):
        return os.path.join(cls.folder, *names)

    def open(self, path, **context):
        """The page. What it complains about, and what it would load, fails the test at its end."""
        page = self.watch(self.context(offline=True, **context).new_page())
        page.goto("file://" + path)
        return page


class KeptPage(Pages):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = cls.path("kept.html")
        model = cls.path("<", HOSTILE[2:].replace("/", "") + ".gguf")  # in one piece, "/" between folder and file
        os.mkdir(os.path.dirname(model))
        shutil.copy(cls.model, model)
        subprocess.run([JUDGEQ, "inspect", "--kept", "-m", model, "--judge", cls.judge, "-t", "1", "--raw", "--quiet",
                        "-p", TEXT + HOSTILE, "--policy", "streaming", "--policy", "judge", "--budget", "16,32,64",
                        "--html", cls.file], check=True)

    @staticmethod
    def coloured(page):
        return page.locator("#tokens span:not(.gone)").count()

    def test_the_slider_moves_by_key(self):
        page = self.open(self.file)
        self.assertEqual(page.locator("#tokens").text_content(), TEXT + HOSTILE)
        self.assertEqual(self.coloured(page), 32)  # StreamingLLM keeps the same everywhere
        page.locator("#budget").focus()
        page.keyboard.press("ArrowRight")
        self.assertEqual(self.coloured(page), 64)
        self.assertIn("64 rows", page.locator("#rows").text_content())
        page.keyboard.press("Home")
        self.assertEqual(self.coloured(page), 16)

    def test_layers_and_heads(self):
        page = self.open(self.file)
        page.select_option("#policy", "judge")
        mean = self.coloured(page)
        page.locator("#layer").focus()
        page.keyboard.press("ArrowRight")
        layer = self.coloured(page)
        self.assertIn("layer 0", page.locator("#layers").text_content())
        rows = 0
        for head in "0", "1":
            page.select_option("#head", head)
            rows += self.coloured(page)  # one layer, one head: as many tokens as rows
        self.assertEqual(rows, 2 * 32)  # the heads share them out among themselves
        self.assertGreaterEqual(layer, 32)
        self.assertGreaterEqual(mean, layer)

    def test_tokens_are_chosen_by_key_and_click(self):
        page = self.open(self.file)
        page.locator("#tokens").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        self.assertIn("Token 1:", page.locator("#token").text_content())
        heads = page.locator("#heads td")
        self.assertEqual(page.locator("#heads td", has_text="kept").count(), heads.count())  # a sink
        page.locator("#tokens span").nth(20).click()
        self.assertIn("Token 20:", page.locator("#token").text_content())
        self.assertEqual(page.locator("#heads td", has_text="kept").count(), 0)

    def test_comparing(self):
        page = self.open(self.file)
        page.select_option("#compare", "judge")
        self.assertIn("only streaming", page.locator("#scale").text_content())
        self.assertGreater(self.coloured(page), 32)

    def test_the_chosen_token_s_panel_compares_both(self):
        page = self.open(self.file)
        cuts = page.evaluate("data.cuts.filter(cut => cut.rows == 32)")
        total = page.evaluate("data.n_layer * data.n_head_kv")
        page.select_option("#compare", "judge")
        page.locator("#tokens").focus()
        seen = set()
        for position in range(page.evaluate("data.tokens.length")):
            page.keyboard.press("ArrowRight")
            holds = [[any(runs[i] <= position <= runs[i + 1] for i in range(0, len(runs), 2)) for heads in cut["kept"] for runs in heads]
                     for cut in cuts]
            facts = page.locator("#facts").text_content()
            for name, policy, one in zip("AB", ("streaming", "judge"), holds):
                self.assertIn(f"{name}: {policy} keeps it in {sum(one)} of {total} layers", facts)
            wanted = [{(True, True): "both", (True, False): "A", (False, True): "B", (False, False): "·"}[pair] for pair in zip(*holds)]
            self.assertEqual(page.locator("#heads td").all_text_contents(), wanted)
            seen |= set(wanted)
        self.assertEqual(seen, {"both", "A", "B", "·"})

    def test_hostile_text_stays_text(self):
        page = self.open(self.file)
        self.assertNotEqual(page.title(), "taken")
        self.assertEqual(page.locator("img").count(), 0)

    def test_fits_every_window(self):
        for width in 320, 390, 800, 1280:
            for scheme in "light", "dark":
                page = self.open(self.file, viewport={"width": width, "height": 800}, color_scheme=scheme)
                self.assertTrue(self.fits(page), (width, scheme))


class ReportPage(Pages):
    SPEC = "long"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.path("results")
        subprocess.run([JUDGEQ, "eval", "needle_text,multi_value,grid", "-m", cls.model, "--judge", cls.judge, "-o", folder,
                        "-t", "1", "-n", "4", "--length", "512", "--samples", "2", "--depths", "3", "--policies",
                        "streaming;judge", "--budgets", "32,64", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(folder, "samples.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        # a model with random weights answers nothing: the scores are written here
        for number, line in enumerate(lines):
            for arm, result in enumerate(line["results"]):
                result["score"] = 1 if arm == 0 else (number + arm) % 3 / 2
                result["answer"] = HOSTILE if arm == 1 else "answer %d" % number
        with open(os.path.join(folder, "samples.jsonl"), "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        subprocess.run([JUDGEQ, "report", folder, "--versus", "streaming", "--quiet"], check=True)
        cls.file, cls.lines = os.path.join(folder, "report.html"), lines

    def test_tables_and_pictures(self):
        page = self.open(self.file)
        rows = page.locator("#scores tbody tr").all_text_contents()
        self.assertEqual(len(rows), 3)
        self.assertTrue(rows[0].startswith("full cache100.0"), rows[0])
        pictures = page.locator("figure img")
        self.assertEqual(pictures.count(), 9)
        for i in range(pictures.count()):  # the browser could decode each of them
            self.assertGreater(pictures.nth(i).evaluate("async image => { await image.decode(); return image.naturalWidth; }"), 100)

    def test_only_sure_differences_are_marked(self):
        folder = self.path("few")  # one sample of each of two tasks: intervals without a width, of which no test is sure
        shutil.copytree(os.path.dirname(self.file), folder)
        lines = [next(line for line in self.lines if line["task"] == task) for task in ("needle_text", "multi_value")]
        for line in lines:
            for result, score in zip(line["results"], (1, 0, 0.5, 1, 1)):
                result["score"] = score
        with open(os.path.join(folder, "samples.jsonl"), "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        subprocess.run([JUDGEQ, "report", folder, "--quiet"], check=True)
        page = self.open(os.path.join(folder, "report.html"))
        pairs = page.evaluate("data.summary.paired")
        self.assertTrue(any(pair["difference"]["low"] > 0 for pair in pairs))
        self.assertTrue(all(pair["p"] > 0.05 for pair in pairs))
        self.assertEqual(page.locator("#paired .right, #paired .wrong").count(), 0)

    def test_curves_fit_a_phone(self):
        """Drawn anew for it, in the page's colours; not a wide picture made small, or scrolled."""
        shown = set()
        for width, scheme in (360, "light"), (360, "dark"), (1280, "light"), (1280, "dark"):
            page = self.open(self.file, viewport={"width": width, "height": 740}, color_scheme=scheme)
            for section in "accuracy", "frontier":
                figure = page.locator(f"#{section} figure").first
                address = figure.locator("img").evaluate("async image => { await image.decode(); return image.currentSrc; }")
                inner, outer = (figure.locator(part).evaluate("box => [box.scrollWidth, box.clientWidth]") for part in ("img", ".scroll"))
                self.assertLessEqual(outer[0], outer[1], (section, width))
                self.assertLessEqual(inner[1], width)
                shown.add((section, address))
                natural = figure.locator("img").evaluate("image => image.naturalWidth")
                self.assertTrue(natural <= 400 if width == 360 else natural >= 1000, (section, width, natural))
        self.assertEqual(len(shown), 8)

    def test_the_question_is_shown_and_found(self):
        page = self.open(self.file)
        asked = next(line for line in self.lines if line["task"] == "multi_value")
        page.fill("#find", asked["question"].upper())
        self.assertEqual(page.locator(".sample").count(), 1)
        page.locator(".sample summary").click()
        page.locator(".sample .question").wait_for()
        self.assertEqual(page.locator(".sample .question").text_content(), asked["question"])

    def test_answers_turn_no_direction_and_have_an_end(self):
        """An override of an answer turns only itself; of ten megabytes the beginning is shown."""
        turned, folder = "\u202e\u2067\u05d0", self.path("turned")
        shutil.copytree(os.path.dirname(self.file), folder)
        line = dict(self.lines[0], task="multi" + turned, references=[turned], question="long " * 2000000)
        line["results"] = [dict(result, answer=turned + "\U0001f6a3" * 2500000) for result in line["results"]]
        with open(os.path.join(folder, "samples.jsonl"), "w", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        subprocess.run([JUDGEQ, "report", folder, "--quiet"], check=True)
        page = self.open(os.path.join(folder, "report.html"))
        summary = page.locator(".sample summary")
        self.assertLess(len(summary.text_content()), 5000)
        self.assertIn("… (5000003 characters in all)", summary.text_content())
        self.assertNotRegex(summary.text_content(), "[\ud800-\udfff]")
        outside = summary.evaluate("""box => { const copy = box.cloneNode(true);
            for (const part of copy.querySelectorAll("bdi")) part.remove(); return copy.textContent; }""")
        self.assertIn("the full cache: ", outside)
        self.assertNotRegex(outside, "[\u202e\u2067]")
        summary.click()
        page.locator(".sample .question").wait_for()
        self.assertLess(len(page.locator(".sample").text_content()), 100000 * len(line["results"]))

    def exercise(self, page):
        """Everything that a reader can open and choose."""
        page.evaluate("""() => {
            for (const select of document.querySelectorAll("select")) for (const option of select.options) {
                select.value = option.value;
                select.dispatchEvent(new Event("input"));
            }
            for (const select of document.querySelectorAll("select")) select.selectedIndex = 0;
            byId("find").value = "x";
            byId("find").dispatchEvent(new Event("input"));
            byId("find").value = "";
            byId("find").dispatchEvent(new Event("input"));
            while (!byId("more").hidden) byId("more").click();
            for (const box of document.querySelectorAll("details")) box.open = true;
        }""")
        page.wait_for_function("[...document.querySelectorAll('.sample')].every(box => box.querySelector('tbody'))")
        self.assertEqual(page.locator(".sample").count(), page.evaluate("data.samples.length"))

    def damaged(self, name, run, lines):
        """The page of a folder that something has damaged; None where it is refused."""
        folder = self.path(name)
        os.mkdir(folder)
        with open(os.path.join(folder, "run.json"), "w", encoding="utf-8") as file:
            json.dump(run, file)
        with open(os.path.join(folder, "samples.jsonl"), "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        if not os.path.exists(self.path("stub")):
            os.mkdir(self.path("stub"))
            damage.write_stub(self.path("stub"))
        done = subprocess.run([JUDGEQ, "report", folder, "--quiet"], capture_output=True, check=False,
                              env=os.environ | {"PATH": self.path("stub") + ":" + os.environ["PATH"]})
        self.assertIn(done.returncode, (0, 1), done.stderr)
        if done.returncode == 1:
            self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
            return None
        return os.path.join(folder, "report.html")

    def test_no_damage_makes_the_script_fail(self):
        """Fields of every kind, of run.json and of a record, replaced by whatever there may be: refused, left out, or shown."""
        with open(os.path.join(os.path.dirname(self.file), "run.json"), encoding="utf-8") as file:
            run = json.load(file) | {"left_out": [{"key": "a", "task": "b", "reason": "c"}]}
        page = self.browser.new_context(offline=True).new_page()
        self.addCleanup(page.context.close)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        base, folders = self.lines[0], []
        for value in damage.VALUES:
            folders.append((run, [damage.replaced(base, path, value) | {"key": str(path)} for path in damage.places(base)
                                  if path not in (("key",), ("results",))] + [self.lines[1]]))
        changes = [(path, value) for path in damage.places(run) for value in damage.VALUES]
        folders += [(damage.replaced(run, path, value), self.lines[:2]) for path, value in random.Random(1).sample(changes, 30)]
        shown = 0
        for number, (description, lines) in enumerate(folders):
            file = self.damaged(f"damaged{number}", description, lines)
            if file is None:
                continue
            shown += 1
            page.goto("file://" + file)
            self.exercise(page)
            self.assertEqual(self.complaints, [], (number, description))
        self.assertGreater(shown, len(damage.VALUES) + 5)

    def test_answers_are_sorted_and_filtered(self):
        page = self.open(self.file)
        samples = page.locator(".sample")
        self.assertEqual(samples.count(), len(self.lines))
        scores = [int(text.split(" %")[0]) for text in page.locator(".sample summary").all_text_contents()]
        self.assertEqual(scores, sorted(scores))
        self.assertEqual(scores, sorted(100 * line["results"][1]["score"] for line in self.lines))
        page.select_option("#which", "lost")
        self.assertEqual(samples.count(), sum(line["results"][1]["score"] < 1 for line in self.lines))
        page.select_option("#which", "gained")
        self.assertEqual(samples.count(), 0)
        page.select_option("#which", "all")
        page.select_option("#arm", "0")
        page.fill("#find", "ANSWER 3")
        self.assertEqual(samples.count(), 1)
        samples.first.locator("summary").click()
        samples.first.locator("tbody tr").first.wait_for()  # the table is made when it is opened
        self.assertEqual(samples.first.locator("tbody tr").count(), 5)
        self.assertIn(HOSTILE, samples.first.locator("tbody").text_content())

    def test_hostile_answers_stay_text(self):
        page = self.open(self.file)
        self.assertNotEqual(page.title(), "taken")
        self.assertEqual(page.locator("img[src=x]").count(), 0)

    def test_fits_every_window(self):
        for width in 320, 1280:
            for scheme in "light", "dark":
                page = self.open(self.file, viewport={"width": width, "height": 800}, color_scheme=scheme)
                self.assertTrue(self.fits(page), (width, scheme))


if __name__ == "__main__":
    if MISSING or not shutil.which("gnuplot"):
        print("skipped: no Playwright, no chromium or no gnuplot: tools/deps.sh --test")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
