"""judgeq bench as its users meet it, on tiny models: which rows there are, and what must hold between their numbers. No
time is compared with anything but zero and its own parts.
test_bench_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from arguments import with_defaults
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

PARTS = ["embed_s", "blocks_s", "score_s", "compact_s", "lookahead_s", "other_s"]
MEASURES = ["first_token_s", *PARTS, "prefill_tokens_per_s", "decode_tokens_per_s", "resident_bytes_peak",
            "bandwidth_share"]


class Bench(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_long_model(MAKE_FIXTURE)
        cls.inspected = json.loads(subprocess.check_output([JUDGEQ, "inspect", cls.model, "--json"]))

    def run_bench(self, *more, status=0):
        defaults = {"-m": self.model, "-t": "1", "--repeat": "2", "--warm-up": "0", "-n": "4"}
        command = [JUDGEQ, "bench", *with_defaults(defaults, more)]
        done = subprocess.run(command, capture_output=True, timeout=120, encoding="utf-8")
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_every_combination_once(self):
        done = self.run_bench("--lengths", "100,200", "--policies", "snapkv,judge-laq", "--budgets", "40,50%",
                              "--kv-types", "f16,f32", "--batches", "1,3", "--json", "--quiet")
        self.assertEqual(done.stderr, "")
        results = json.loads(done.stdout)
        self.assertEqual((results["repetitions"], results["decoded"]), (2, 4))
        self.assertEqual([memory["threads"] for memory in results["memory"]], [1])
        expected = [(length, policy, budget, kv_type, batch)
                    for length in (100, 200)
                    for policy, budget in (("full", None), ("snapkv", "40"), ("snapkv", "50%"), ("judge-laq", "40"),
                                           ("judge-laq", "50%"))
                    for kv_type in ("f16", "f32") for batch in (1, 3)]
        cells = results["cells"]
        self.assertEqual([(cell["tokens"], cell["policy"], cell["budget"], cell["kv_type"], cell["batch"])
                          for cell in cells], expected)
        for cell in cells:
            with self.subTest(**{key: cell[key] for key in ("tokens", "policy", "budget", "kv_type", "batch")}):
                self.check_cell(cell, results["model"])

    def check_cell(self, cell, model):
        for measure in MEASURES:
            spread = cell[measure]
            self.assertLessEqual(spread["low"], spread["median"])
            self.assertLessEqual(spread["median"], spread["high"])
        for measure in ("first_token_s", "embed_s", "blocks_s", "decode_tokens_per_s", "bandwidth_share"):
            self.assertGreater(cell[measure]["low"], 0, measure)
        self.assertEqual(cell["lookahead_s"]["low"] > 0, cell["policy"] == "judge-laq")
        self.assertEqual(cell["compact_s"]["low"] > 0, cell["policy"] != "full" or cell["batch"] > 1)
        self.assertLessEqual(sum(cell[part]["low"] for part in PARTS), cell["first_token_s"]["high"] + 1e-6)
        # F16 takes 2 bytes, keys and values, of every layer and KV head
        size = {"f16": 1, "f32": 2}[cell["kv_type"]] * self.inspected["kv_bytes_per_token"]
        budget = {None: cell["tokens"], "40": 40, "50%": cell["tokens"] // 2}[cell["budget"]]
        self.assertEqual(cell["kv_bytes_held"], cell["batch"] * (budget + 4) * size)
        self.assertGreaterEqual(cell["kv_bytes_peak"], cell["kv_bytes_held"])
        self.assertEqual(cell["step_bytes"], model["decode_bytes"] + cell["batch"] * (budget + 2) * size)

    def test_weights_that_a_token_reads(self):
        results = json.loads(self.run_bench("--lengths", "64", "--json", "--quiet").stdout)
        model = results["model"]
        self.assertEqual(model["weight_bytes"], self.inspected["weight_bytes"])
        # F32, not tied: one row of the embeddings of all
        rows = (self.inspected["n_vocab"] - 1) * self.inspected["n_embd"] * 4
        self.assertEqual(model["decode_bytes"], model["weight_bytes"] - rows)

    def test_files_say_what_json_says(self):
        table = self.path("bench.csv")
        done = self.run_bench("--lengths", "64,96", "--policies", "snapkv,probe=window:16;streaming", "--budgets", "40",
                              "-o", table, "--json", "--quiet")
        cells = json.loads(done.stdout)["cells"]
        with open(table, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), len(cells))
        for row, cell in zip(rows, cells):
            self.assertEqual((row["policy"], row["budget"]), (cell["policy"], cell["budget"] or ""))
            self.assertEqual([int(row[key]) for key in ("tokens", "threads", "batch", "kv_bytes_held", "kv_bytes_peak")],
                             [cell[key] for key in ("tokens", "threads", "batch", "kv_bytes_held", "kv_bytes_peak")])
            for measure in MEASURES:
                for column, key in (("", "median"), ("_low", "low"), ("_high", "high")):
                    self.assertAlmostEqual(float(row[measure + column]) / (cell[measure][key] or 1),
                                           1 if cell[measure][key] else 0, places=6)

    @unittest.skipUnless(shutil.which("gnuplot"), "no gnuplot")
    def test_picture(self):
        picture = self.path("bench.svg")
        self.run_bench("--lengths", "64,128", "--policies", "streaming", "--budgets", "40", "--batches", "1,2", "-o", picture)
        with open(picture, encoding="utf-8") as file:
            svg = file.read()
        for text in ("Time to the first token", "Decoding", "KV memory", "full, batch 1", "streaming, 40, batch 2"):
            self.assertIn(text, svg)

    def test_table(self):
        done = self.run_bench("--lengths", "64,1200", "--policies", "judge", "--budgets", "40", "-t", "0")
        lines = done.stdout.splitlines()
        self.assertRegex(lines[1], "^.+: many rows (oneDNN brg.+ in (BF16|F32)|judgeq's own in BF16|ggml's); few rows (AVX-512 with VNNI|ggml's); own operations .+; ggml")
        self.assertRegex(lines[2], r"^Memory, \d+ threads?: read [\d.]+ GB/s")
        self.assertRegex(lines[4], "^tokens +policy +budget")
        self.assertEqual([line.split()[:5] for line in lines[5:]],
                         [["64", "full", "-", "f16", "chosen"], ["64", "judge", "40", "f16", "chosen"],
                          ["1,200", "full", "-", "f16", "chosen"], ["1,200", "judge", "40", "f16", "chosen"]])

    def test_compared(self):
        """Every cell with the same one of before, by the medians of both; cells that only one has are left out."""
        arguments = ["--lengths", "64,96", "--policies", "streaming", "--budgets", "40", "--quiet"]
        before = json.loads(self.run_bench(*arguments, "--json").stdout)
        del before["cells"][0]
        path = self.path("before.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(before, file)
        now = json.loads(self.run_bench(*arguments, "--json", "--compare", path).stdout)
        self.assertIsNone(now["cells"][0]["compared"])
        for old, new in zip(before["cells"], now["cells"][1:]):
            found = new["compared"]
            self.assertAlmostEqual(found["first_token"] * new["first_token_s"]["median"] / old["first_token_s"]["median"], 1, places=5)
            self.assertAlmostEqual(found["decode"] * old["decode_tokens_per_s"]["median"] / new["decode_tokens_per_s"]["median"], 1,
                                   places=5)
            self.assertEqual(found["kv_bytes_peak"], 1)
        lines = self.run_bench(*arguments, "--compare", path).stdout.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("Beside " + path))
        self.assertRegex(lines[at + 1], "^ +tokens +policy +budget .*first token +decode +KV peak$")
        self.assertEqual([line.split()[:3] for line in lines[at + 2:]], [[str(cell["tokens"]), cell["policy"], cell["budget"] or "-"]
                                                                         for cell in before["cells"]])
        # what others wrote does not steer the terminal, and another model's figures are said to be such
        before.update(version="\u001b[2J", processor="a\nb\u202e", model={"fingerprint": "another"})
        with open(path, "w", encoding="utf-8") as file:
            json.dump(before, file)
        text = self.run_bench(*arguments, "--compare", path).stdout
        self.assertIn(r"(judgeq \x1b[2J on a\x0ab\u202e)", text)
        self.assertIn("It was measured with another model.\n", text)
        for text, message in (("[]", "not what judgeq bench --json prints"), ("{", "not what judgeq bench --json prints"),
                              (None, "No such file")):
            if text is None:
                os.remove(path)
            else:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            done = self.run_bench(*arguments, "--compare", path, status=1)
            self.assertIn(path, done.stderr)
            self.assertIn(message, done.stderr)

    def test_quantised_caches(self):
        model = self.path("mistral.gguf")  # heads of 32 numbers
        subprocess.run([MAKE_FIXTURE, "model", "mistral", model], check=True)
        done = self.run_bench("-m", model, "--lengths", "100", "--policies", "snapkv", "--budgets", "40", "--kv-types",
                              "f16,q8_0,q4_0", "--json", "--quiet")
        held = [cell["kv_bytes_held"] for cell in json.loads(done.stdout)["cells"] if cell["policy"] == "snapkv"]
        # 34 and 18 bytes for 32 numbers, where F16 takes 64
        self.assertEqual([64 * size // held[0] for size in held], [64, 34, 18])

    def test_no_decoding(self):
        cells = json.loads(self.run_bench("--lengths", "64", "--budgets", "40", "-n", "0", "--json").stdout)["cells"]
        for cell in cells:
            self.assertIsNone(cell["decode_tokens_per_s"]["median"])
            self.assertGreater(cell["first_token_s"]["median"], 0)

    def test_wrong_usage(self):
        for arguments in (["--lengths", ""], ["--lengths", "12,x"], ["--lengths", ",".join(["64"] * 17)],
                          ["--budgets", "0"], ["--policies", "nonsense"], ["--policies", "snapkv@q8_0"], ["--kv-types", "f17"], ["-o", "file"],
                          ["-o", "file.txt"], ["--repeat", "0"], ["-t", "-1"], ["--batches", "0"], ["argument"], ["-x"],
                          ["--expand", "1.5"]):
            with self.subTest(arguments=arguments):
                done = self.run_bench(*arguments, status=2)
                self.assertEqual(done.stdout, "")
                self.assertRegex(done.stderr, r"^judgeq: .*\n$")

    def test_failures_name_their_cause(self):
        done = self.run_bench("-o", self.path("none/bench.csv"), "--lengths", "32", "--budgets", "16", "--quiet", status=1)
        self.assertIn("none/bench.csv", done.stderr)
        done = self.run_bench("--judge", self.path("none.gguf"), status=1)
        self.assertIn("none.gguf", done.stderr)

    def test_interrupt(self):
        process = subprocess.Popen([JUDGEQ, "bench", "-m", self.model, "-t", "1", "--lengths", "64", "--repeat", "1000",
                                    "--policies", "streaming", "-n", "2"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, encoding="utf-8")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, ""))
        self.assertIn("judgeq: interrupted", err)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
