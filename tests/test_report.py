"""judgeq report on runs written here, whose numbers are known, and on one of judgeq eval.
test_report.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import damage
from in_folder import InFolder
from page_elements import Elements

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
SKIPPED = 77

HOSTILE = "</script><script>document.title='taken'</script><!-- <img src=x onerror=alert(1)> `touch x` '; system('x') \u2028"
N_LAYER = 3


def result(policy, budget, rows, score, **more):
    return {"policy": policy, "policy_text": "probe=none", "budget": budget, "rows": rows, "score": score,
            "answer": "It is %d." % rows, "completion_tokens": 4, "kv_bytes_held": rows << 20, "kv_bytes_peak": rows << 21,
            "decode_s": 0.5, "hit_rate": score, "mass_kept": score, "kl": None, "perplexity": None,
            "layers": {"hit_rate": [score] * N_LAYER, "mass_kept": [score / 2] * N_LAYER}} | more


def sample(task, length, index, scores, family="own", depth=None, policies=("snapkv", "judge")):
    """scores: of the full cache, then of each policy under the budgets 2 and 8."""
    arms = [("full", None, length)] + [(policy, str(rows), rows) for policy in policies for rows in (2, 8)]
    return {"key": f"{task}/{length}/1/{index}/{depth}", "task": task, "family": family, "metric": "all", "length": length,
            "depth": depth, "seed": 1, "index": index, "prompt_tokens": length - 1, "kv_bytes_full": length << 20,
            "prefill_s": 1.5, "references": ["417920"],
            "results": [result(policy, budget, rows, score) for (policy, budget, rows), score in zip(arms, scores)]}


def run_of(policies):
    return {"version": "0.1.0", "model": {"name": "tiny", "fingerprint": "ab", "path": "tiny.gguf"}, "judge": None,
            "policies": [{"policy": policy, "policy_text": "probe=none"} for policy in ("full", *policies)],
            "budgets": ["2", "8"], "tasks": ["multi_key", "words"], "lengths": [64, 128], "samples": 2, "seed": 1,
            "started": "2026-01-31T17:05:00Z"}


# With everything that there can be.
WHOLE_RUN = run_of(("snapkv", "judge")) | {
    "judge": {"origin": "a test", "fingerprint": "ab", "hash": "cd"}, "settings": {"format": "auto", "cut": 9, "heads": True},
    "left_out": [{"key": "a", "task": "b", "reason": "c"}], "command": "judgeq eval"}


def whole_sample(index):
    """One with everything that there can be."""
    made = sample("multi_key", 64, index, (1, 0, 0.5, 0.25, 1)) | {"question": "Who?", "length_group": "0-4k", "depth": 0.5,
                                                                  "prompt": [1, 2]}
    for one in made["results"]:
        one |= {"kv_type": "f16", "kl": 0.25, "perplexity": 2.5,
                "heads": {name: [[0.5, 1] for _ in range(N_LAYER)] for name in ("hit_rate", "mass_kept")}}
    return made


SAMPLES = [sample("multi_key", 64, 0, (1, 0, 0.5, 0.25, 1)), sample("multi_key", 64, 1, (1, 0.5, 0.5, 0.75, 1)),
           sample("multi_key", 128, 0, (0, 0, 0, 0, 0)), sample("words", 64, 0, (1, 0.2, 0.4, 0.6, 0.8))]
GRID = [sample("needle_text", length, index, (1, share, 0.5, 0.5, 1), "grid", depth)
        for length in (64, 128) for depth in (0.0, 0.5, 1.0) for index, share in enumerate((0.0, depth))]


def texts(path):
    """The texts of an SVG file."""
    root = xml.etree.ElementTree.parse(path).getroot()
    return ["".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")]


class Report(InFolder):
    @classmethod
    def path(cls, *names):
        return os.path.join(cls.folder, *names)

    def write_run(self, name, samples, policies=("snapkv", "judge"), end="", run=None):
        os.mkdir(self.path(name))
        run = run or run_of(policies)
        with open(self.path(name, "run.json"), "w", encoding="utf-8") as file:
            json.dump(run, file)
        with open(self.path(name, "samples.jsonl"), "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(one) + "\n" for one in samples) + end)
        return self.path(name)

    def execute(self, *arguments, **more):
        return subprocess.run([JUDGEQ, "report", *arguments], **({"capture_output": True, "timeout": 300} | more))

    def test_lines_that_other_ranks_hold(self):
        whole, ranks = self.write_run("one-rank", SAMPLES), self.write_run("ranks", SAMPLES[:2])
        with open(os.path.join(ranks, "samples.1.jsonl"), "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(one) + "\n" for one in SAMPLES[2:]) + '{"key": "cut')
        whole, ranks = (json.loads(self.report(path, "--json", "--quiet").stdout)["summary"] for path in (whole, ranks))
        self.assertEqual(ranks, whole)

    def test_legends_name_all_policies(self):
        policies = [f"policy {i}" for i in range(30)]
        scores = [1] + [i % 7 / 7 for i in range(60)]
        self.write_run("many", [sample("multi_key", 64, 0, scores, policies=policies)], policies)
        self.report(self.path("many"), "--quiet")
        for name in ("accuracy-multi_key.svg", "frontier.svg"):
            shown = texts(self.path("many", "pictures", name))
            self.assertEqual([policy for policy in policies if policy not in shown], [], name)
            with open(self.path("many", "pictures", name), encoding="utf-8") as file:
                height = float(re.search(r'viewBox="0 0 [0-9]+ ([0-9]+)"', file.read())[1])
            self.assertGreater(height, 30 * 20)

    def report(self, *arguments):
        done = self.execute(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done

    def page(self, *names):
        with open(self.path(*names), encoding="utf-8") as file:
            text = file.read()
        found = Elements(text)
        self.assertEqual(found.tags.count("script"), 2)
        self.assertEqual([address for address in found.addresses if not address.startswith("#")], [])
        for marker in "@DATA@", "@STYLE@", "@SCRIPT@":
            self.assertNotIn(marker, text)
        return json.loads(found.scripts[0])

    def refuse(self, status, words, *arguments, **more):
        done = self.execute(*arguments, **({"stderr": subprocess.PIPE, "capture_output": False, "stdout": subprocess.DEVNULL} | more))
        said = done.stderr.decode()
        self.assertEqual(done.returncode, status, said)
        self.assertIn(words, said)
        self.assertEqual(said.count("\n"), 1, said)

    def test_files_and_numbers(self):
        folder = self.write_run("whole", SAMPLES + GRID)
        done = self.report(folder, "--json")
        self.assertIn("and 9 pictures in", done.stderr.decode())
        printed = json.loads(done.stdout)
        names = ["accuracy", "accuracy-multi_key", "accuracy-words", "accuracy-grid-needle_text", "frontier", "needle-2",
                 "needle-8", "layers-hit-rate", "layers-mass-kept"]
        self.assertEqual(sorted(printed["pictures"]),
                         sorted(f"{folder}/pictures/{name}.{ending}" for name in names for ending in ("svg", "png")))
        for path in printed["pictures"]:
            with open(path, "rb") as file:
                self.assertTrue(file.read(8).startswith(b"\x89PNG" if path.endswith("png") else b"<?xml"))
        data = self.page("whole", "report.html")
        self.assertEqual(data["run"], printed["run"])
        self.assertEqual(data["summary"], printed["summary"])
        self.assertEqual(data["versus"], "judge")
        self.assertEqual([picture["name"] for picture in data["pictures"]].count("accuracy"), 1)
        self.assertEqual(len(data["samples"]), len(SAMPLES + GRID))
        self.assertNotIn("layers", data["samples"][0]["results"][1])
        self.assertEqual(data["samples"][0]["results"][1]["answer"], "It is 2.")
        rows = {(row["policy"], row["budget"]): row["score"]["mean"] for row in data["summary"]["groups"][0]["rows"]}
        # each of the five tasks and lengths weighs the same: multi_key 64 and 128, words, the grid's two lengths
        self.assertAlmostEqual(rows["snapkv", "2"], (0.25 + 0 + 0.2 + 0.25 + 0.25) / 5, places=6)
        self.assertAlmostEqual(rows["judge", "8"], (1 + 0 + 0.8 + 1 + 1) / 5, places=6)

    def test_cells_of_the_heat_maps(self):
        folder = self.write_run("cells", GRID)
        self.report(folder)
        shown = texts(self.path("cells", "pictures", "needle-2.svg"))
        for text in "full cache", "snapkv", "judge", "0 %", "50 %", "100 %", "64", "128":
            self.assertIn(text, shown)
        numbers = [text for text in shown if re.fullmatch("[0-9]+", text) and text not in ("64", "128")]
        # full cache 6 cells of 100; snapkv the means of 0 and its depth, at two lengths; judge 6 of 50
        self.assertEqual(sorted(numbers, key=int), ["0"] * 2 + ["25"] * 2 + ["50"] * (2 + 6) + ["100"] * 6)
        shown = texts(self.path("cells", "pictures", "layers-hit-rate.svg"))
        for text in "Budget 2", "Budget 8", "layer", "snapkv", "judge", "0", "1", "2":
            self.assertIn(text, shown)

    def test_points_of_the_curves(self):
        folder = self.write_run("points", SAMPLES[:2])
        self.report(folder)
        with open(self.path("points", "pictures", "accuracy-multi_key.svg"), encoding="utf-8") as file:
            svg = file.read()
        # one mark for each of two budgets and one in the legend; the first policy's is a disc, the second's a square
        for mark in "gpPt6", "gpPt4":
            places = re.findall(r"<use xlink:href='#%s' transform='translate\(([0-9.]+),([0-9.]+)\)" % mark, svg)
            self.assertEqual(len(places), 3)
        heights = {mark: [float(y) for _, y in re.findall(
            r"<use xlink:href='#%s' transform='translate\(([0-9.]+),([0-9.]+)\)" % mark, svg)][:2] for mark in ("gpPt6", "gpPt4")}
        # snapkv 25 and 50 %, judge 50 and 100 %: on one linear axis
        self.assertAlmostEqual(heights["gpPt6"][1], heights["gpPt4"][0], delta=0.5)
        step = heights["gpPt6"][0] - heights["gpPt6"][1]
        self.assertGreater(step, 0)
        self.assertAlmostEqual(heights["gpPt4"][0] - heights["gpPt4"][1], 2 * step, delta=0.5)

    def test_hostile_names_and_missing_fields(self):
        policies = HOSTILE, "../../up"
        lines = [sample("../../" + HOSTILE, 64, 0, (1, 0, 1, 0, 1), policies=policies),
                 sample("grid " + HOSTILE, 64, 1, (1, 0, 1, 0, 1), "grid", 0.5, policies=policies)]
        for line in lines:
            line["references"] = [HOSTILE]
            for one in line["results"]:
                one["answer"] = HOSTILE
        bare = {"key": "bare", "task": "bare", "family": "own", "length": None,
                "results": [{"policy": "full", "budget": None}] + [{"policy": policies[0], "budget": "2"}] * 4}
        lines.append(bare)
        lines.append({"key": "none", "task": "none", "results": []})
        folder = self.write_run("hostile", lines, policies, end='{"key": "cut o')
        self.report(folder)
        self.assertEqual(sorted(os.listdir(folder)), ["pictures", "report.html", "run.json", "samples.jsonl"])
        self.assertFalse([name for name in os.listdir(self.folder) if "up" in name or "script" in name])
        data = self.page("hostile", "report.html")
        self.assertEqual(data["samples"][0]["results"][0]["answer"], HOSTILE)
        for name in os.listdir(self.path("hostile", "pictures")):
            self.assertRegex(name, r"^[A-Za-z0-9_+.-]+$")
            if name.endswith(".svg"):
                root = xml.etree.ElementTree.parse(self.path("hostile", "pictures", name)).getroot()
                self.assertEqual([tag for tag in root.iter() if tag.tag.endswith(("script", "img"))], [])

    def quick(self, folder, *arguments):
        """Without the drawing."""
        stub = self.path("stub")
        if not os.path.exists(stub):
            os.mkdir(stub)
            damage.write_stub(stub)
        return self.execute(folder, *arguments, env=os.environ | {"PATH": stub + ":" + os.environ["PATH"]})

    def test_damaged_records_are_left_out_and_counted(self):
        """Every field of a line, with every value: a record is whole, or named. What is left are the numbers of the whole ones."""
        healthy, base = [sample("words", 64, i, (1, 0, 0.5, 0.5, 1)) for i in range(2)], whole_sample(0)
        for number, value in enumerate(damage.VALUES):
            lines = [damage.replaced(base, path, value) | {"key": "/".join(map(str, path))}
                     for path in damage.places(base) if path not in (("key",), ("results",))]
            folder = self.write_run(f"damaged{number}", lines + healthy, run=WHOLE_RUN)
            done = self.quick(folder, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            printed, kept = json.loads(done.stdout), {one["key"] for one in self.page(f"damaged{number}", "report.html")["samples"]}
            named = {one["key"]: one["reason"] for one in printed["damaged"]}
            self.assertEqual(sorted([*kept, *named]), sorted(line["key"] for line in lines + healthy))
            self.assertLessEqual({one["key"] for one in healthy}, kept)
            self.assertIn(f"left out {len(named)} of {len(lines) + 2} records", done.stderr.decode())
            if value in (-1e300, 1e300, 2**62, ["x", 7]) and not isinstance(value, bool):
                free = {path for path in kept if path.endswith(("seed", "kl", "perplexity"))}  # as large as they like
                self.assertEqual(kept - free, {one["key"] for one in healthy})
            for key, reason in named.items():
                if value is not damage.GONE:  # an element that is gone makes the results others
                    field = re.sub(r"/([0-9]+)", r"[\1]", key).replace("/", ".")
                    self.assertTrue(reason.startswith(field) or reason.startswith("results: are not those"), (key, value, reason))

    def left_out(self, folder, numbers):
        done = self.quick(folder, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        named = [one["key"] for one in json.loads(done.stdout)["damaged"]]
        self.assertEqual(named, [f"samples.jsonl:{number}" for number in numbers])
        self.assertEqual(b"left out" in done.stderr, bool(numbers))

    def test_lines_that_are_no_records(self):
        """A line that a disk or an editor has spoilt costs itself, not the evaluation."""
        good = json.dumps(sample("words", 64, 0, (1, 0, 0, 0, 1))).encode()
        for number, (lines, wrong) in enumerate((
                ([good, b"garbage"], [2]), ([b"\0" * 99, good], [1]), ([good, b"", b" \t", good + b"\r", b""], []),
                ([good[:40], good[40:], good], [1, 2]), ([b"[]", b"7", b"{}", good], [1, 2, 3]), ([b"\xef\xbb\xbf", good], [1]),
                ([good, b'{"key": "caf\xe9", "results": []}'], [2]), ([good, b'{"key": "\\ud83d", "results": []}'], [2]),
                ([good, b'{"key": "\x1b[2J", "results"'], [2]), ([good, b"[" * 99999], [2]))):
            with self.subTest(lines=[line[:30] for line in lines]):
                folder = self.write_run(f"lines{number}", [])
                with open(self.path(f"lines{number}", "samples.jsonl"), "wb") as file:
                    file.write(b"".join(line + b"\n" for line in lines))
                self.left_out(folder, wrong)

    def test_damaged_folders_are_refused(self):
        base = whole_sample(0)
        for number, (path, value) in enumerate((path, value) for path in (("key",), ("results",)) for value in damage.VALUES):
            wrong = not isinstance(value, str if path == ("key",) else list)
            if wrong:
                folder = self.write_run(f"refused{number}", [sample("words", 64, 0, (1, 0, 0, 0, 1)), damage.replaced(base, path, value)])
                self.left_out(folder, [2])
        folder = self.write_run("all-damaged", [base | {"length": "64"}])
        self.refuse(1, "all 1 records are damaged: multi_key/64/1/0/None: length: expected an integer", folder)
        folder = self.write_run("pipe", SAMPLES)
        os.unlink(os.path.join(folder, "samples.jsonl"))
        os.mkfifo(os.path.join(folder, "samples.jsonl"))
        self.refuse(1, "samples.jsonl: is no regular file", folder)
        for path, value, words in ((("policies",), [], "policies"), (("policies", 1, "policy"), 7, "policies[1].policy: expected a text"),
                                   (("policies", 0, "policy"), "snapkv", "policies: expected the full cache first"), (("budgets",), "2", "budgets: expected an array"),
                                   (("model",), "m.gguf", "model: expected an object"), (("model", "path"), [], "model.path: expected a text"),
                                   (("settings", "cut"), [1], "settings.cut"), (("lengths", 0), -4, "lengths[0]"),
                                   (("budgets", 1), None, "budgets[1]: is missing"), (("samples",), 0.5, "samples: expected an integer")):
            folder = self.write_run("run-damaged", SAMPLES, run=damage.replaced(WHOLE_RUN, path, value))
            self.refuse(1, "run.json: " + words, folder)
            shutil.rmtree(folder)

    def test_the_full_cache_alone(self):
        lines = [sample("words", 64, 0, (1,))]
        folder = self.write_run("alone", lines, ())
        self.report(folder)
        self.assertEqual(os.listdir(self.path("alone", "pictures")), [])
        self.assertEqual(self.page("alone", "report.html")["pictures"], [])

    def test_options(self):
        folder = self.write_run("options", SAMPLES)
        done = self.report(folder, "-o", self.path("elsewhere.html"), "--pictures", self.path("drawn"), "--versus", "snapkv", "--quiet")
        self.assertEqual(done.stderr, b"")
        self.assertEqual(done.stdout, b"")
        self.assertEqual(sorted(os.listdir(folder)), ["run.json", "samples.jsonl"])
        self.assertIn("frontier.png", os.listdir(self.path("drawn")))
        data = self.page("elsewhere.html")
        self.assertEqual({pair["policy"] for pair in data["summary"]["paired"]}, {"snapkv"})
        self.refuse(2, "--versus tova: is none", folder, "--versus", "tova")

    def test_failures(self):
        folder = self.write_run("failures", SAMPLES[:1])
        empty = self.write_run("empty", [])
        self.refuse(2, "which folder?")
        self.refuse(2, 'what is "b"', "a", "b")
        self.refuse(2, "unknown option", folder, "--nonsense")
        self.refuse(2, "-o needs a value", folder, "-o")
        self.refuse(1, "no sample is finished", empty)
        self.refuse(1, "/no/such", "/no/such")
        self.refuse(1, "/no/such", folder, "--pictures", "/no/such/folder")
        self.refuse(1, "/no/such/page.html", folder, "-o", "/no/such/page.html")
        self.refuse(1, "apt-get install gnuplot-nox", folder, env={"PATH": self.folder})
        with open("/dev/full", "w") as full:
            self.refuse(1, "cannot write to standard output", folder, "--json", "--quiet", stdout=full)
        with open(self.path("failures", "samples.jsonl"), "a") as file:
            file.write("[]\n")
        self.left_out(folder, [2])

    def test_a_run_of_judgeq_eval(self):
        model, judge, folder = self.path("model.gguf"), self.path("model.judge.gguf"), self.path("real")
        subprocess.run([MAKE_FIXTURE, "endless", "long", model], check=True)
        subprocess.run([MAKE_FIXTURE, "judge", model, judge], check=True)
        subprocess.run([JUDGEQ, "eval", "needle_text,grid", "-m", model, "-o", folder, "-t", "1", "-n", "4", "--length",
                        "256", "--samples", "1", "--depths", "3", "--policies", "streaming;judge", "--budgets", "64,25%",
                        "--quiet"], check=True, stdout=subprocess.DEVNULL, timeout=120)
        self.report(folder)
        data = self.page("real", "report.html")
        self.assertEqual(len(data["samples"]), 4)
        sections = {picture["section"] for picture in data["pictures"]}
        self.assertEqual(sections, {"accuracy", "frontier", "needle", "layers"})


if __name__ == "__main__":
    if not shutil.which("gnuplot"):
        print("skipped: no gnuplot")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
