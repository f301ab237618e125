"""judgeq eval as its users meet it, on tiny models: tasks, records, interruptions, extensions, wrong usage.
test_eval_cli.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
import unittest
from unittest import mock

from arguments import with_defaults
from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

OWN = ["common_words", "frequent_words", "multi_key", "multi_query", "multi_turn", "multi_value", "needle_noise",
       "needle_text", "needle_uuid", "question_first", "two_questions", "variable_tracking"]


class Eval(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_long_model(MAKE_FIXTURE)

    def arguments(self, output, *more):
        defaults = {"-m": self.model, "-o": self.path(output), "-t": "1", "-n": "4"}
        return [JUDGEQ, "eval", *with_defaults(defaults, more)]

    def run_eval(self, output, *more, status=0):
        done = subprocess.run(self.arguments(output, *more), capture_output=True, timeout=120, encoding="utf-8")
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def lines(self, output):
        with open(os.path.join(self.path(output), "samples.jsonl"), encoding="utf-8") as file:
            return {line["key"]: line for line in map(json.loads, file)}

    def without_times(self, output):
        lines = self.lines(output)
        for line in lines.values():
            del line["prefill_s"]
            for result in line["results"]:
                del result["decode_s"], result["decode_tokens_per_s"]
        return lines

    def test_all_own_tasks(self):
        self.run_eval("own", "own", "--length", "1500", "--samples", "1", "--budgets", "64,5%")
        lines = self.lines("own")
        self.assertEqual(sorted(lines), [f"{task}/1500/1/0" for task in OWN])
        for line in lines.values():
            with self.subTest(task=line["task"]):
                self.assertTrue(1300 <= line["prompt_tokens"] <= 1500, line["prompt_tokens"])
                self.assertEqual([(result["policy"], result["budget"]) for result in line["results"]],
                                 [("full", None)] + [(policy, budget)
                                                     for policy in ("streaming", "snapkv", "judge", "judge-laq")
                                                     for budget in ("64", "5%")])
                full, streaming = line["results"][:2]
                self.assertEqual((full["hit_rate"], full["mass_kept"]), (1, 1))
                self.assertEqual(full["rows"], line["prompt_tokens"])
                self.assertEqual(streaming["rows"], 64)
                self.assertTrue(0 < streaming["hit_rate"] < 1 and 0 < streaming["mass_kept"] < 1)
                self.assertEqual(len(streaming["layers"]["hit_rate"]), len(streaming["layers"]["mass_kept"]))
                mean = sum(streaming["layers"]["hit_rate"]) / len(streaming["layers"]["hit_rate"])
                self.assertAlmostEqual(mean, streaming["hit_rate"], delta=1e-3)
                self.assertLess(streaming["kv_bytes_held"], full["kv_bytes_held"])
        with open(os.path.join(self.path("own"), "run.json"), encoding="utf-8") as file:
            run = json.load(file)
        self.assertEqual(run["judge"]["origin"], "a test")
        self.assertEqual([policy["policy"] for policy in run["policies"]],
                         ["full", "streaming", "snapkv", "judge", "judge-laq"])

    def test_more_samples_and_lengths_extend(self):
        common = ["needle_text,multi_key", "--policies", "snapkv", "--budgets", "64"]
        self.run_eval("few", *common, "--samples", "1", "--length", "600")
        few = self.without_times("few")
        self.run_eval("many", *common, "--samples", "2", "--length", "600,700")
        many = self.without_times("many")
        self.assertEqual(len(many), 8)
        self.assertEqual({key: many[key] for key in few}, few)
        self.run_eval("few", *common, "--samples", "2", "--length", "600,700")
        self.assertEqual(self.without_times("few"), many)

    def test_an_interrupted_run_continues(self):
        arguments = ["needle_text", "--policies", "snapkv;judge", "--budgets", "64", "--length", "600", "--samples", "6"]
        self.run_eval("whole", *arguments)
        process = subprocess.Popen(self.arguments("parts", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        samples = os.path.join(self.path("parts"), "samples.jsonl")
        for _ in range(1000):
            if os.path.exists(samples) and os.path.getsize(samples) > 0:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        if process.returncode != 0:  # it may have been faster than the signal
            self.assertEqual(process.returncode, 130)
            self.assertIn(b"the same command continues", said)
        with open(samples, "ab") as file:
            file.write(b'{"key": "needle_text/600/1/5", "resul')  # a line that a kill has cut off
        self.run_eval("parts", *arguments)
        self.assertEqual(self.without_times("parts"), self.without_times("whole"))
        before = os.stat(samples).st_mtime_ns
        report = self.run_eval("parts", *arguments)
        self.assertEqual(os.stat(samples).st_mtime_ns, before)
        self.assertIn("| snapkv", report.stdout)

    def test_a_damaged_run_continues(self):
        """What is damaged is asked anew; what is not a run's is left as it is."""
        arguments = ["needle_noise", "--length", "300", "--samples", "3", "--budgets", "16", "--policies", "streaming"]
        self.run_eval("damaged", *arguments)
        whole, path = self.without_times("damaged"), os.path.join(self.path("damaged"), "samples.jsonl")
        with open(path, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        with open(path, "wb") as file:
            file.write(lines[0] + b"\n" + lines[1][:70] + b"\n" + b"\0" * 9 + b"\n" + lines[2])
        done = self.run_eval("damaged", *arguments)
        self.assertIn("passed over 2 damaged lines, whose samples are asked anew (samples.jsonl:3: ", done.stderr)
        with open(path, "rb") as file:
            left = [line for line in file.read().splitlines(keepends=True) if line in lines or b"results" in line]
        self.assertEqual(len(left), 3)
        with open(path, "wb") as file:
            file.write(b"".join(left))
        self.assertEqual(self.without_times("damaged"), whole)
        for content in b"another's file", b"another's file\n":
            os.makedirs(self.path("foreign"), exist_ok=True)
            with open(os.path.join(self.path("foreign"), "samples.jsonl"), "wb") as file:
                file.write(content)
            done = self.run_eval("foreign", *arguments, status=1)
            self.assertIn("holds no sample of judgeq eval", done.stderr)
            with open(os.path.join(self.path("foreign"), "samples.jsonl"), "rb") as file:
                self.assertEqual(file.read(), content)
        for name in "run.json", "samples.jsonl":
            os.makedirs(self.path("pipe-" + name))
            os.mkfifo(os.path.join(self.path("pipe-" + name), name))
            self.run_eval("pipe-" + name, *arguments, status=1)

    def test_budgets_above_the_prompt_are_the_full_cache(self):
        self.run_eval("above", "needle_text", "--policies", "snapkv,laq", "--budgets", "5000,100%", "--length", "600",
                      "--samples", "1")
        full, *others = self.lines("above")["needle_text/600/1/0"]["results"]
        for other in others:
            self.assertEqual((other["answer"], other["hit_rate"], other["rows"]), (full["answer"], 1, full["rows"]))

    def test_a_folder_s_name_is_no_pattern(self):
        """Files of another run's ranks stay, and so does what only looks like a rank's file."""
        arguments = "needle_noise", "--length", "300", "--samples", "1", "--budgets", "16", "--policies", "streaming"
        self.run_eval("run1", *arguments)
        with open(self.path("run1/samples.jsonl"), "rb") as file:
            lines = file.read()
        for name in "run1/samples.1.jsonl", "run1/samples.1x.jsonl", "run1/samples.2.jsonl.old":
            with open(self.path(name), "wb") as file:
                file.write(lines)
        for folder in "run[0-9]", "run?", "run*", "{run1,x}", "run\\1":
            self.run_eval(folder, *arguments)
            self.assertEqual(len(self.lines(folder)), 1)
            self.assertTrue(os.path.exists(self.path("run1/samples.1.jsonl")))
        self.run_eval("run1", *arguments)  # its own are gathered
        self.assertEqual(sorted(os.listdir(self.path("run1"))),
                         ["run.json", "samples.1x.jsonl", "samples.2.jsonl.old", "samples.jsonl"])

    def test_another_run_s_folder_is_refused(self):
        arguments = ["needle_text", "--length", "600", "--samples", "1", "--budgets", "64"]
        self.run_eval("taken", *arguments, "--policies", "snapkv")
        refused = self.run_eval("taken", *arguments, "--policies", "tova", status=2)
        self.assertIn('another "policies"', refused.stderr)
        self.assertEqual(list(self.lines("taken")), ["needle_text/600/1/0"])

    def test_another_deep_judge_is_another_run(self):
        """Also where the first layer's vectors are the same."""
        done = subprocess.run([JUDGEQ, "inspect", self.model, "--json"], capture_output=True, check=True)
        shape = [json.loads(done.stdout)[key] for key in ("n_layer", "n_embd")]
        shape.insert(1, 2)
        for name, last in (("one", 1.0), ("two", 2.0)):
            numbers = struct.pack(f"<{math.prod(shape) - 1}f", *[0.5] * (math.prod(shape) - 1)) + struct.pack("<f", last)
            head = repr({"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}).ljust(117) + "\n"
            with open(self.path("deep.npy"), "wb") as file:
                file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + numbers)
            subprocess.run([JUDGEQ, "judge", "import", self.path("deep.npy"), "-m", self.model, "-o",
                            self.path(f"{name}.gguf")], check=True, capture_output=True)
        arguments = ["needle_text", "--length", "600", "--samples", "1", "--budgets", "64", "--policies", "judge"]
        self.run_eval("deep", *arguments, "--judge", self.path("one.gguf"))
        self.run_eval("deep", *arguments, "--judge", self.path("one.gguf"))
        refused = self.run_eval("deep", *arguments, "--judge", self.path("two.gguf"), status=2)
        self.assertIn('another "judge"', refused.stderr)

    def test_tables_are_aligned(self):
        long = "snapkv,probe=window:16,reduce=max/max,smooth=avg:5,keep=recent:16"
        said = self.run_eval("aligned", "needle_text", "--policies", f"{long};tova", "--budgets", "64,12.5%", "--length",
                             "600", "--samples", "1").stdout
        tables = [table.split("\n") for table in said.split("\n\n") if table.startswith("|")]
        self.assertEqual(len(tables), 5)  # score, costs, hit rate, mass kept, differences
        for table in tables:
            self.assertEqual(len({tuple(i for i, c in enumerate(line) if c == "|") for line in table}), 1, table)
        self.assertTrue(all(any(long in line for line in table) for table in tables))
        self.assertEqual([cell.strip() for cell in tables[1][0].split("|")[1:-1]],
                         ["policy", "budget", "right", "KV held, MiB", "of full", "KV peak, MiB", "tokens/s"])
        self.assertEqual([cell.strip() for cell in tables[0][0].split("|")[1:-1]], ["policy", "budget 64", "budget 12.5%"])
        self.assertEqual([line for line in said.split("\n") if line.startswith("###")],
                         ["### needle_text, 600 tokens: score in %, 1 sample, {:.0f} tokens on average".format(self.lines("aligned")["needle_text/600/1/0"]["prompt_tokens"]),
                          "### Right answers of 1, memory and speed", "### Critical KV hit rate in %",
                          "### Attention mass kept in %", "### tova against the others: difference of scores in percentage points"])

    def test_grid(self):
        self.run_eval("grid", "grid", "--policies", "snapkv", "--budgets", "64", "--length", "600,800", "--depths", "3",
                      "--samples", "1", "--heads")
        lines = self.lines("grid")
        self.assertEqual({(line["length"], line["depth"]) for line in lines.values()},
                         {(length, depth) for length in (600, 800) for depth in (0, 0.5, 1)})
        self.assertEqual({line["family"] for line in lines.values()}, {"grid"})
        heads = lines["grid/needle_text/600/0.5/1/0"]["results"][1]["heads"]["hit_rate"]
        self.assertEqual(len(heads[0]), len(heads[-1]))

    def test_haystack_of_files(self):
        texts = self.path("texts")
        os.makedirs(texts)
        with open(os.path.join(texts, "a.txt"), "w", encoding="utf-8") as file:
            file.write("Der Fährmann schläft. Die Möwe wacht!\n\nNiemand spricht.\n" * 5)
        common = ["needle_text", "--policies", "snapkv", "--budgets", "64", "--length", "600", "--samples", "1"]
        self.run_eval("files", *common, "--haystack", texts)
        self.assertEqual(len(self.lines("files")), 1)
        self.assertIn('another "settings"', self.run_eval("files", *common, status=2).stderr)
        refused = self.run_eval("nothing", *common, "--haystack", self.path("none"), status=1)
        self.assertIn("No such file", refused.stderr)

    def test_divergence(self):
        """Against the log-probabilities that judgeq run gives for the same tokens: where an answer is the full cache's,
        both have read the same, and the perplexity follows from them."""
        text = "The iron heron is on the ring. " * 12
        path = self.write_lines("divergence.jsonl", {"input": text, "outputs": ["x"]})
        common = [f"ruler:{path}", "--policies", "snapkv;random", "--budgets", "48,5000", "--raw", "-n", "6"]
        self.run_eval("divergence", *common, "--divergence", "--prompts")
        self.run_eval("plain", *common)
        (line,), (plain,) = self.lines("divergence").values(), self.lines("plain").values()
        for result, other in zip(line["results"], plain["results"]):
            self.assertIsNone(other["kl"])
            self.assertEqual(result["answer"], other["answer"])
            self.assertEqual(result["kv_bytes_held"], other["kv_bytes_held"])
        self.assertEqual(len(line["prompt"]), line["prompt_tokens"])
        self.assertNotIn("prompt", plain)
        full, snapkv, above, random, _ = line["results"]
        self.assertAlmostEqual(full["kl"], 0, places=12)
        self.assertEqual((above["kl"], above["perplexity"]), (full["kl"], full["perplexity"]))
        self.assertGreater(snapkv["kl"], 0)
        self.assertGreater(random["kl"], snapkv["kl"])
        run = json.loads(subprocess.run(
            [JUDGEQ, "run", "-m", self.model, "--json", "--quiet", "--raw", "-t", "1", "-n", "6", "-p", text,
             "--logprobs", "1"], capture_output=True, check=True, timeout=60).stdout)
        logprobs = [token["logprob"] for token in run["logprobs"]["content"]][1:]
        self.assertAlmostEqual(full["perplexity"], math.exp(-sum(logprobs) / len(logprobs)), delta=1e-3)

    def write_lines(self, name, *lines):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        return path

    def test_answers_are_those_of_separate_runs(self):
        """RULER's lines, so that the prompt is known: the same text, tokens and bytes as judgeq run, policy by policy."""
        self.compare_with_runs("ruler-run", self.model)

    def test_quantised_answers_are_those_of_separate_runs(self):
        """Of Q4_1, ggml multiplies every column alone; with expanded weights the answers could differ."""
        model = self.path("q4_1.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "q4_1", model], check=True)
        subprocess.run([MAKE_FIXTURE, "judge", model, self.path("q4_1.judge.gguf")], check=True)
        self.compare_with_runs("ruler-q4_1", model, "--expand", "0")

    def compare_with_runs(self, output, model, *more):
        text = "The iron heron is on the ring. " * 12 + "Which bird is on the ring?"
        path = self.write_lines("ruler/niah_single_1/validation.jsonl",
                                {"index": 0, "input": text, "outputs": ["heron"], "length": 1, "answer_prefix": " It is"})
        policies = [preset["name"] for preset in json.loads(subprocess.run(
            [JUDGEQ, "policies", "--json"], capture_output=True, check=True).stdout)]
        self.run_eval(output, f"ruler:{path}", "--policies", ",".join(policies), "--budgets", "48,40%", "--raw",
                      "-n", "6", "-m", model, *more)
        (line,) = self.lines(output).values()
        self.assertEqual((line["task"], line["family"], line["metric"], line["length"], line["depth"]),
                         ("niah_single_1", "ruler", "all", None, None))
        self.assertEqual(len(line["results"]), 1 + 2 * (len(policies) - 1))
        for result in line["results"]:
            with self.subTest(policy=result["policy"], budget=result["budget"]):
                budget = ["--budget", result["budget"]] if result["budget"] else []
                run = json.loads(subprocess.run(
                    [JUDGEQ, "run", "-m", model, "--json", "--quiet", "--raw", "-t", "1", "-n", "6", "-p",
                     text + " It is", "--policy", result["policy"], "--seed", "1", *budget],
                    capture_output=True, check=True, timeout=60).stdout)
                self.assertEqual(result["answer"], run["text"])
                self.assertEqual(line["prompt_tokens"], run["prompt_tokens"])
                self.assertEqual((result["completion_tokens"], result["kv_bytes_held"], result["policy_text"]),
                                 (run["completion_tokens"], run["kv_bytes_held"], run["policy"]))

    def test_ruler_prompts(self):
        """Without answer_prefix the line is the whole prompt; with one it is a message, and the prefix begins the answer."""
        text = "The iron heron is on the ring. " * 12
        whole = self.write_lines("whole.jsonl", {"input": text, "outputs": ["heron"]})
        split = self.write_lines("split.jsonl", {"input": text, "outputs": ["heron"], "answer_prefix": " It is"})
        model, found = self.path("template.gguf"), {}
        subprocess.run([MAKE_FIXTURE, "model", "llama", model], check=True)
        for name, path, more in (("whole", whole, []), ("whole-raw", whole, ["--raw"]), ("whole-chat", whole, ["--chat"]),
                                 ("split", split, []), ("split-raw", split, ["--raw"])):
            self.run_eval("prompts-" + name, f"ruler:{path}", "--policies", "snapkv", "--budgets", "64", "-m", model,
                          *more)
            (line,) = self.lines("prompts-" + name).values()
            found[name] = line["prompt_tokens"]
        self.assertEqual(found["whole"], found["whole-raw"])
        self.assertLess(found["whole"], found["whole-chat"])
        self.assertLess(found["split-raw"], found["split"])

    def test_inputs_in_a_template_are_read_as_they_are(self):
        """RULER counts in length_w_model_temp the template that is yet to come. A file with it is the text of call_api.py:
        input and answer_prefix, joined by nothing."""
        model, text = self.path("template.gguf"), "<|im_start|>user\n" + "The iron heron is on the ring. " * 12 + "<|im_end|>\n"
        subprocess.run([MAKE_FIXTURE, "model", "llama", model], check=True)
        found = {}
        for name, more in (("whole", {"length": 99, "length_w_model_temp": 99}), ("later", {"length": 99, "length_w_model_temp": 120}),
                           ("one", {"length": 99})):
            path = self.write_lines(f"asked-{name}.jsonl", {"input": text, "outputs": ["heron"], "answer_prefix": "It is", **more})
            for raw in [], ["--raw"]:
                self.run_eval(f"asked-{name}{len(raw)}", f"ruler:{path}", "--policies", "snapkv", "--budgets", "64", "-m", model,
                              "--prompts", *raw)
                (line,) = self.lines(f"asked-{name}{len(raw)}").values()
                found[name, len(raw)] = line["prompt"]
        run = json.loads(subprocess.run([JUDGEQ, "run", "-m", model, "--json", "--quiet", "--raw", "-t", "1", "-n", "1", "-p",
                                         text + "It is"], capture_output=True, check=True).stdout)
        self.assertEqual(len(found["whole", 0]), run["prompt_tokens"])
        self.assertEqual(found["whole", 0], found["whole", 1])
        for name in "later", "one":
            self.assertEqual(found[name, 1], found["whole", 1])
            self.assertGreater(len(found[name, 0]), len(found[name, 1]))

    def test_names_of_ruler_files(self):
        line = {"input": "A heron sings. " * 40, "outputs": ["heron", "no such"]}
        for path in ("helmet/ruler_qa_1/validation_4096", "helmet/ruler_qa_1/validation_8192", "helmet/niah_mk_2/test",
                     "helmet/vt/val", "helmet/cwe", "helmet/other/notes"):
            self.write_lines(f"{path}.jsonl", line | {"note": path})
        self.run_eval("names", f"ruler:{self.path('helmet')}", "--policies", "snapkv", "--budgets", "64")
        self.assertEqual(sorted((line["task"], line["length"] or 0, line["metric"]) for line in self.lines("names").values()),
                         [("cwe", 0, "all"), ("niah_mk_2", 0, "all"), ("ruler_qa_1", 4096, "any"), ("ruler_qa_1", 8192, "any")])
        for path, task, length, metric in (("helmet/ruler_qa_1/validation_4096", "ruler_qa_1", 4096, "any"),
                                           ("helmet/vt/val", "val", None, "all")):
            self.run_eval("names-" + task, f"ruler:{self.path(path)}.jsonl", "--policies", "snapkv", "--budgets", "64")
            (line,) = self.lines("names-" + task).values()
            self.assertEqual((line["task"], line["length"], line["metric"]), (task, length, metric))
        os.mkdir(self.path("no-files"))
        self.assertIn("validation_LENGTH.jsonl", self.run_eval("none", f"ruler:{self.path('no-files')}", status=1).stderr)

    def test_what_cannot_be_asked_is_left_out(self):
        """Found before the first sample, and counted: the others are asked."""
        good = {"input": "The iron heron is on the ring. " * 9, "outputs": ["heron"]}
        lines = [good | {"index": 0}, good | {"outputs": []}, good | {"input": ""}, {"outputs": ["a"]}, good | {"outputs": [3]},
                 good | {"input": "The iron heron is on the ring. " * 2000}, good | {"index": 6}]
        path = self.write_lines("unfit.jsonl", *lines)
        common = [f"ruler:{path}", "--policies", "snapkv", "--budgets", "64"]
        done = subprocess.run(self.arguments("unfit", *common, "--json"), capture_output=True, check=True, encoding="utf-8")
        self.assertEqual(sorted(line["index"] for line in self.lines("unfit").values()), [0, 6])
        self.assertEqual(json.loads(done.stdout)["left_out"], 5)
        said = [line for line in done.stderr.splitlines() if "no chat template" not in line]
        self.assertEqual(said[0], "judgeq: left out 5 of 7 samples, which cannot be asked:")
        self.assertIn(f'{path}:2: "outputs" is empty', said[1])
        self.assertIn("and 2 more", said[4])
        with open(os.path.join(self.path("unfit"), "run.json"), encoding="utf-8") as file:
            left_out = json.load(file)["left_out"]
        self.assertEqual([one["reason"].split(".jsonl:")[1].split(",")[0] for one in left_out],
                         ['2: "outputs" is empty', '3: "input" is empty', '4: has no "input" or no "outputs"',
                          '5: "outputs" is no list of texts', left_out[4]["reason"].split(".jsonl:")[1].split(",")[0]])
        self.assertIn("unfit.jsonl:6: prompt and answers may have", left_out[4]["reason"])
        self.assertEqual(len({one["key"] for one in left_out}), 5)
        again = self.run_eval("unfit", *common, "--quiet")
        self.assertIn("5 samples of files could not be asked", again.stdout)
        self.assertEqual(again.stderr, "")
        none = self.write_lines("unfit-all.jsonl", *lines[1:3])
        self.assertIn("no sample can be asked", self.run_eval("unfit-all", f"ruler:{none}", status=1).stderr)
        self.assertFalse(os.path.exists(self.path("unfit-all")))

    def test_marks_blank_lines_and_broken_characters(self):
        line = json.dumps({"input": "The iron heron is on the ring. " * 9, "outputs": ["heron"]}).encode()
        for name, content in (("bom", b"\xef\xbb\xbf" + line + b"\n"), ("crlf", line + b"\r\n\r\n  \r\n\n" + line + b"\r\n"),
                              ("broken", line.replace(b"iron", b"ir\xff\xc3n"))):
            with open(self.path(name + ".jsonl"), "wb") as file:
                file.write(content)
            self.run_eval("marks-" + name, f"ruler:{self.path(name)}.jsonl", "--policies", "snapkv", "--budgets", "64")
            self.assertEqual(len(self.lines("marks-" + name)), content.count(b'"outputs"'), name)
        # what Python writes and jansson refuses loses no file, and no number that is read
        python = {"input": "The iron heron is on the ring. " * 9 + "\ud800\0", "outputs": ["heron", "a\udc00"], "answer_prefix": " It",
                  "length": 60, "length_w_model_temp": 60, "huge": 10**40, "odd": [float("nan"), -float("inf"), 1e300]}
        self.run_eval("python", f"ruler:{self.write_lines('python.jsonl', python)}", "--policies", "snapkv", "--budgets", "64",
                      "--prompts")
        (line,) = self.lines("python").values()
        self.assertEqual((line["references"], line["question"][-2:]), (["heron", "a\ufffd"], "\ufffd\ufffd"))
        with open(self.path("latin.txt"), "wb") as file:
            file.write("Der F\u00e4hrmann schl\u00e4ft. Die M\u00f6we wacht!\n".encode("latin-1") * 9)
        common = ["needle_text", "--policies", "snapkv", "--budgets", "64", "--length", "600", "--samples", "1"]
        refused = self.run_eval("latin", *common, "--haystack", self.path("latin.txt"), status=1)
        self.assertIn("latin.txt: is not UTF-8 text", refused.stderr)
        self.assertFalse(os.path.exists(self.path("latin")))

    def test_messages_are_cut_between_characters(self):
        """Names of any length are in them, of characters of three bytes at any place."""
        folder = self.path("cut")
        self.run_eval("cut", "needle_noise", "--length", "300", "--samples", "1", "--budgets", "16", "--policies", "streaming")
        for length in range(3):
            name = "x" * length + "\u4eac" * 120
            for arguments in (["report", folder, "--versus", name], ["eval", name, "-m", self.model, "-o", self.path("no")]):
                done = subprocess.run([JUDGEQ, *arguments], capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 2)
                self.assertIn("\u4eac" * 15, done.stderr.decode())
                self.assertNotIn("\\x", done.stderr.decode())

    def test_zero_bytes_in_answers(self):
        """A model may write them. Old folders have them, too: they continue, and are reported."""
        common = ["needle_text", "--policies", "snapkv", "--budgets", "64", "--length", "600"]
        self.run_eval("zero", *common, "--samples", "1")
        samples = os.path.join(self.path("zero"), "samples.jsonl")
        (line,) = self.lines("zero").values()
        line["results"][0]["answer"] = "before\0after"
        with open(samples, "w", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.assertIn("2 samples", self.run_eval("zero", *common, "--samples", "2").stdout)
        self.assertEqual(self.lines("zero")[line["key"]]["results"][0]["answer"], "before\0after")

    def test_nothing_is_written_before_all_is_checked(self):
        for more, status, words in ((["--length", "9000"], 1, "task needle_text with --length 9000"),
                                    (["--length", "600,64"], 1, "--length is 64"), (["--budgets", "64,0%"], 2, "budget"),
                                    (["--versus", "tova"], 2, "--versus tova"), (["--policies", "judge", "--judge", "none"], 1, "none"),
                                    (["ruler:/no/such"], 1, "/no/such")):
            with self.subTest(more=more):
                done = self.run_eval("unwritten", "needle_text", *with_defaults({"--policies": "snapkv"}, more), status=status)
                self.assertIn(words, done.stderr)
                self.assertFalse(os.path.exists(self.path("unwritten")))

    def test_a_folder_without_samples_takes_any_run(self):
        """Nothing in it could be compared: a run that was stopped before its first sample hinders no other."""
        common = ["needle_text", "--length", "600", "--samples", "1", "--budgets", "64"]
        self.run_eval("stopped", *common, "--policies", "snapkv")
        with open(os.path.join(self.path("stopped"), "samples.jsonl"), "w", encoding="utf-8"):
            pass
        self.run_eval("stopped", *common, "--policies", "tova")
        self.assertEqual([r["policy"] for line in self.lines("stopped").values() for r in line["results"]], ["full", "tova"])

    def test_turns_are_read(self):
        """With a slack, policies choose again when a turn comes; what holds everything answers the same either way."""
        options = ("multi_turn,two_questions", "--length", "700", "--samples", "1", "-n", "6", "--expand", "0")
        for name, more in ("read", ("--slack", "4")), ("decoded", ()):
            self.run_eval(name, *options, *more, "--policies", "snapkv;streaming", "--budgets", "64,100%")
        read, decoded = self.lines("read"), self.lines("decoded")
        self.assertEqual(read.keys(), decoded.keys())
        held = []
        for key, line in read.items():
            for now, then in zip(line["results"], decoded[key]["results"]):
                if then["rows"] >= line["prompt_tokens"]:
                    self.assertEqual(now["answer"], then["answer"])
                else:
                    held.append((now["kv_bytes_held"], then["kv_bytes_held"]))
        self.assertTrue(held)
        for now, then in held:
            self.assertLess(now, then)
        done = self.run_eval("both", *options, "--slack", "4", "--divergence", "--policies", "snapkv", "--budgets", "64", status=2)
        self.assertIn("--divergence", done.stderr)

    def test_unknown(self):
        """Eight answers from one state, each scored; what holds everything answers as the full cache; no copy is left."""
        folder = self.path("copies")
        os.makedirs(folder)
        common = ["unknown", "--length", "1200", "--samples", "1", "--expand", "0", "--policies", "streaming;judge", "--budgets",
                  "64,100%"]
        with mock.patch.dict(os.environ, {"TMPDIR": folder}):
            done = self.run_eval("unknown", *common, "--json", "--prompts", "--divergence")
            self.run_eval("unknown-apart", *common, "--one-by-one")
            self.run_eval("unknown-slack", *common, "--slack", "2")
        self.assertEqual(os.listdir(folder), [])
        lines, apart, slack = (self.lines(name) for name in ("unknown", "unknown-apart", "unknown-slack"))
        self.assertEqual(sorted(line["task"] for line in lines.values()), ["ingested", "turn_ten", "two_documents"])
        for key, line in lines.items():
            n = 1 if line["task"] == "turn_ten" else 8
            self.assertEqual(len(line["question"].split("\n")), n)
            self.assertEqual(len(line["prompt"]), line["prompt_tokens"])
            self.assertTrue(950 <= line["prompt_tokens"] <= 1200, line["prompt_tokens"])
            full = line["results"][0]
            for result, other, bounded in zip(line["results"], apart[key]["results"], slack[key]["results"]):
                self.assertEqual(len(result["scores"]), n)
                self.assertAlmostEqual(result["score"], sum(result["scores"]) / n)
                self.assertLessEqual(result["completion_tokens"], 4 * n)
                self.assertEqual((result["answer"], result["hit_rate"]), (other["answer"], other["hit_rate"]))
                self.assertIsNone(result["kl"])
                if result["budget"] == "100%":
                    self.assertEqual((result["answer"], result["kv_bytes_held"]), (full["answer"], full["kv_bytes_held"]))
                elif result["budget"] == "64":
                    per_row = full["kv_bytes_held"] / (line["prompt_tokens"] + 200)
                    self.assertLess(result["kv_bytes_held"], per_row * 100)
                    self.assertLessEqual(bounded["kv_bytes_held"], result["kv_bytes_held"])
                    self.assertLess(result["hit_rate"], 1)
        self.assertEqual({group["task"] for group in json.loads(done.stdout)["groups"]},
                         {None, "ingested", "two_documents", "turn_ten"})

    def test_ingested_is_ingest_and_run(self):
        """Policy by policy, the answers that judgeq run --context gives to a file of judgeq ingest."""
        policies = "streaming", "h2o", "snapkv", "judge", "judge-later", "judge-laq"
        self.run_eval("ingested", "ingested", "--length", "900", "--samples", "1", "--expand", "0", "--policies", ",".join(policies),
                      "--budgets", "48", "-n", "6", "--prompts")
        (line,) = self.lines("ingested").values()
        document, saved = self.path("document.txt"), self.path("document.kv")
        with open(document, "w", encoding="utf-8") as file:
            file.write(line["messages"][0])
        for result in line["results"]:
            with self.subTest(policy=result["policy"]):
                budget = ["--budget", "48", "--slack", "none"] if result["budget"] else []
                subprocess.run([JUDGEQ, "ingest", "-m", self.model, "-t", "1", "--quiet", "--policy", result["policy"], *budget, document,
                                "-o", saved], check=True, timeout=60)
                answers = [json.loads(subprocess.run(
                    [JUDGEQ, "run", "-m", self.model, "--json", "--quiet", "-t", "1", "-n", "6", "--context", saved, "-p",
                     "Answer from the text above. " + question], capture_output=True, check=True, timeout=60).stdout)["text"]
                           for question in line["question"].split("\n")]
                self.assertEqual(result["answer"], "\n".join(answers))

    def test_continuation(self):
        """A likelihood in the place of a score: the full cache's for what keeps everything, and its own for each policy."""
        path = self.path("continued.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"The heron number {i} sings on the ring in the rain.\n" for i in range(900))
        common = ["continuation", "--text", path, "--length", "200", "--samples", "3", "-n", "20", "--policies", "streaming;snapkv",
                  "--budgets", "24,5000"]
        found = {}
        for name, more in ("continued", []), ("continued-slack", ["--slack", "4"]):
            done = self.run_eval(name, *common, *more, "--json")
            lines, summary = found.setdefault(name, self.lines(name)), json.loads(done.stdout)
            (group,), likelihood = summary["groups"], summary["likelihood"]
            self.assertEqual((group["samples"], group["prompt_tokens"], summary["paired"]), (3, 200, []))
            self.assertEqual([(one["policy"], one["budget"]) for one in likelihood],
                             [("streaming", "24"), ("streaming", "5000"), ("snapkv", "24"), ("snapkv", "5000")])
            for line in lines.values():
                self.assertEqual((line["metric"], line["results"][0]["score"], line["results"][0]["completion_tokens"]), ("nll", None, 19))
                for result in line["results"]:
                    self.assertAlmostEqual(result["nll"], math.log(result["perplexity"]), places=6)
            for one, arm in zip(likelihood, (1, 2, 3, 4)):
                differences = [line["results"][arm]["nll"] - line["results"][0]["nll"] for line in lines.values()]
                self.assertAlmostEqual(one["difference"]["mean"], sum(differences) / 3, places=6)
            self.assertEqual(likelihood[1]["difference"]["mean"], 0)
            self.assertNotEqual(likelihood[0]["difference"]["mean"], 0)
        for key, line in found["continued"].items():
            now, then = line["results"][1], found["continued-slack"][key]["results"][1]
            self.assertGreater(now["kv_bytes_held"], then["kv_bytes_held"])
            self.assertNotEqual(now["nll"], then["nll"])
        self.assertIn("less the full cache's", self.run_eval("continued", *common).stdout)
        self.assertIn("--text", self.run_eval("no-text", "continuation", "--policies", "snapkv", status=2).stderr)
        with open(path, "w", encoding="utf-8") as file:
            file.write("The heron sings.\n")
        short = self.run_eval("short-text", "continuation", "--text", path, "--length", "200", "--policies", "snapkv", status=1)
        self.assertIn("are needed", short.stderr)

    def test_records_say_the_question(self):
        self.run_eval("questions", "question_first,multi_turn,common_words", "--policies", "snapkv", "--budgets", "64", "--length",
                      "700", "--samples", "1")
        lines = {line["task"]: line["question"] for line in self.lines("questions").values()}
        self.assertEqual(lines["common_words"], "Which 5 words come up most often in the list above?")
        self.assertEqual([line[-1] for line in lines["multi_turn"].split("\n")], ["?"] * 3)
        self.assertTrue(lines["question_first"].endswith("?"))
        text = "A heron sings. " * 60 + "\u00e9" * 350 + "\nWho?\n"
        path = self.write_lines("question.jsonl", {"input": text, "outputs": ["heron"]})
        self.run_eval("question", f"ruler:{path}", "--policies", "snapkv", "--budgets", "64")
        (line,) = self.lines("question").values()
        self.assertEqual(line["question"], "\u2026" + "\u00e9" * 297 + "\nWho?")

    def test_ruler_folder(self):
        for task, outputs in (("qa_1", ["heron", "no such"]), ("vt", ["heron"])):
            self.write_lines(f"ruler-two/{task}/validation.jsonl", *({"input": "A heron sings. " * 40 + str(i),
                                                                       "outputs": outputs} for i in range(3)))
        self.run_eval("ruler-folder", f"ruler:{self.path('ruler-two')}", "--policies", "snapkv", "--budgets", "64",
                      "--samples", "2")
        lines = self.lines("ruler-folder").values()
        self.assertEqual(sorted((line["task"], line["index"], line["metric"]) for line in lines),
                         [("qa_1", 0, "any"), ("qa_1", 1, "any"), ("vt", 0, "all"), ("vt", 1, "all")])
        broken = self.write_lines("broken.jsonl", {"input": 3})
        self.assertIn('broken.jsonl:1: has no "input"',
                      self.run_eval("ruler-broken", f"ruler:{broken}", status=1).stderr)

    def longbench(self, name, config=True):
        """A folder of LongBench's shape with three of its tasks."""
        if config:
            os.makedirs(self.path(f"{name}/config"))
            with open(self.path(f"{name}/config/dataset2prompt.json"), "w", encoding="utf-8") as file:
                json.dump({"qasper": "Read: {context}\n{{Q}} {input}", "trec": "{context}{input}",
                           "multi_news": "Sum up: {context}"}, file)
            with open(self.path(f"{name}/config/dataset2maxlen.json"), "w", encoding="utf-8") as file:
                json.dump({"qasper": 4, "trec": 4, "multi_news": 4}, file)
        long, some = "Herons sing. " * 300, {"length": 1, "language": "en", "_id": "x"}
        self.write_lines(f"{name}/data/qasper.jsonl", {"input": "who?", "context": long, "answers": ["a", "b"],
                                                       "dataset": "qasper", "all_classes": None, **some})
        self.write_lines(f"{name}/data/trec.jsonl", {"input": "which?", "context": "x " * 80, "answers": ["City"],
                                                     "dataset": "trec", "all_classes": ["City", "Date"], **some})
        return self.write_lines(f"{name}/data/multi_news.jsonl",
                                {"input": "", "context": "News! " * 60, "dataset": "multi_news", "all_classes": None,
                                 "answers": r"['It\'s \xe9', " + '"a \\"b\\""]', **some})

    def test_expanded_weights_are_noted(self):
        model = self.path("expanded.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "q4_1", model], check=True)
        path = self.write_lines("expanded.jsonl", {"input": "The iron heron is on the ring. " * 12, "outputs": ["x"]})
        common = [f"ruler:{path}", "--policies", "snapkv;tova;random;streaming", "--budgets", "48,64,80", "-m", model]
        self.run_eval("expanded", *common)
        with open(os.path.join(self.path("expanded"), "run.json"), encoding="utf-8") as file:
            self.assertTrue(json.load(file)["settings"]["expanded"])
        self.assertIn('another "settings"', self.run_eval("expanded", *common, "--expand", "0", status=2).stderr)

    def test_longbench_folder(self):
        self.longbench("longbench")
        self.run_eval("longbench-run", f"longbench:{self.path('longbench')}", "--policies", "snapkv", "--budgets", "64",
                      "--cut", "300")
        lines = {line["task"]: line for line in self.lines("longbench-run").values()}
        self.assertEqual({task: line["metric"] for task, line in lines.items()},
                         {"qasper": "f1", "trec": "classification", "multi_news": "rouge_l"})
        self.assertEqual(lines["multi_news"]["references"], ["It's \u00e9", 'a "b"'])
        self.assertTrue(290 <= lines["qasper"]["prompt_tokens"] <= 330)  # the middle is gone
        for line in lines.values():
            self.assertEqual(line["results"][0]["completion_tokens"], 4)

    def test_longbench_e(self):
        """Prompt, metric and length of the task without _e; scores by length, as scorer_e of LongBench's eval.py has it."""
        self.longbench("longbench-e")
        common = {"input": "who?", "context": "Herons sing. " * 30, "answers": ["a"], "all_classes": None, "language": "en"}
        lengths = {1: "0-4k", 3999: "0-4k", 4000: "4-8k", 7999: "4-8k", 8000: "8k+"}
        self.write_lines("longbench-e/data/qasper_e.jsonl",
                         *(common | {"length": length, "dataset": "qasper_e"} for length in lengths),
                         common | {"dataset": "qasper_e"})
        done = self.run_eval("longbench-e-run", f"longbench:{self.path('longbench-e')}", "--policies", "snapkv", "--budgets", "64",
                             "--cut", "300")
        lines = [line for line in self.lines("longbench-e-run").values() if line["task"] == "qasper_e"]
        self.assertEqual([(line["index"], line["metric"], line["length_group"]) for line in lines],
                         [(i, "f1", group) for i, group in enumerate(lengths.values())])
        self.assertEqual(lines[0]["results"][0]["completion_tokens"], 4)
        self.assertIn("### qasper_e, 4-8k words: score in %, 2 samples", done.stdout)
        self.assertIn('has no "length"', done.stderr)
        # published files name the task without _e inside
        self.write_lines("longbench-e/data/trec_e.jsonl", common | {"length": 9, "dataset": "trec", "all_classes": ["City"]})
        self.run_eval("trec-e", f"longbench:{self.path('longbench-e/data/trec_e.jsonl')}", "--policies", "snapkv", "--budgets", "64")
        (line,) = self.lines("trec-e").values()
        self.assertEqual((line["task"], line["metric"], line["length_group"]), ("trec_e", "classification", "0-4k"))

    def test_longbench_file(self):
        path = self.longbench("longbench-file")
        self.run_eval("longbench-one", f"longbench:{path}", "--policies", "snapkv", "--budgets", "64")
        self.assertEqual([line["task"] for line in self.lines("longbench-one").values()], ["multi_news"])
        alone = self.longbench("longbench-alone", config=False)
        self.assertIn("dataset2prompt.json", self.run_eval("alone", f"longbench:{alone}", status=1).stderr)

    def test_kv_types(self):
        """A type after the policy: a full cache of it has no budget, and the first one stays what all are compared with."""
        model = self.path("kv.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "mistral", model], check=True)
        path = self.write_lines("kv.jsonl", {"input": "The iron heron is on the ring. " * 12, "outputs": ["x"]})
        self.run_eval("kv", f"ruler:{path}", "--policies", "full@q4_0;snapkv;snapkv@q8_0", "--budgets", "48,64", "--raw",
                      "-m", model, "--divergence", "-n", "12")
        (line,) = self.lines("kv").values()
        results = line["results"]
        self.assertEqual([(r["policy"], r["policy_text"].split("=")[0], r["kv_type"], r["budget"]) for r in results],
                         [("full", "full", "f16", None), ("full@q4_0", "full", "q4_0", None),
                          ("snapkv", "probe", "f16", "48"), ("snapkv", "probe", "f16", "64"),
                          ("snapkv@q8_0", "probe", "q8_0", "48"), ("snapkv@q8_0", "probe", "q8_0", "64")])
        full, quarter, half, _, eight, _ = results
        self.assertEqual(quarter["rows"], full["rows"])
        self.assertEqual(quarter["hit_rate"], 1)
        self.assertLess(abs(full["kl"]), 1e-12)
        self.assertGreater(quarter["kl"], 1e-6)
        self.assertEqual(half["hit_rate"], eight["hit_rate"])  # the same rows
        per_token = eight["kv_bytes_held"] / (48 + eight["completion_tokens"] - 1)
        self.assertEqual(per_token * 32, 34 * 2 * 2 * 2 * 32)  # 2 layers, 2 KV heads, key and value of 32
        self.assertEqual(half["kv_bytes_held"] / (48 + half["completion_tokens"] - 1) * 34, per_token * 64)
        # the @ of a lookahead, which a policy drafts for, is none of a type
        for name, drafted in (("at-end", "laq,probe=lookahead:4@streaming"), ("inside", "laq,probe=lookahead:4@streaming,keep=none")):
            self.run_eval(name, f"ruler:{path}", "--policies", f"{drafted};{drafted}@q8_0", "--budgets", "48", "--raw", "-m", model)
            (line,) = self.lines(name).values()
            self.assertEqual([r["kv_type"] for r in line["results"]], ["f16", "f16", "q8_0"])
        for wrong in ("snapkv@q8", "snapkv@", "full@f16;full@f16", "snapkv,probe=lookahead:4@q8"):
            self.run_eval("kv-wrong", f"ruler:{path}", "--policies", wrong, "-m", model, status=2)

    def test_json(self):
        done = self.run_eval("json", "needle_text", "--policies", "snapkv,judge", "--budgets", "64", "--length", "600",
                             "--samples", "3", "--json")
        summary = json.loads(done.stdout)
        (group,) = summary["groups"]
        scores = [line["results"][1]["hit_rate"] for line in self.lines("json").values()]
        row = group["rows"][1]
        self.assertEqual((row["policy"], row["budget"], group["samples"]), ("snapkv", "64", 3))
        self.assertAlmostEqual(row["hit_rate"]["mean"], sum(scores) / 3, places=6)
        self.assertTrue(min(scores) - 1e-6 <= row["hit_rate"]["low"] <= row["hit_rate"]["high"] <= max(scores) + 1e-6)
        self.assertEqual({pair["other"] for pair in summary["paired"]}, {"full", "snapkv"})

    def test_costs(self):
        """Right answers, memory and speed are those of the lines; a speed is there where each answer is decoded alone."""
        common = ["eight_facts", "--policies", "streaming", "--budgets", "64", "--length", "900", "--samples", "3", "--json"]
        apart = json.loads(self.run_eval("apart", *common, "--one-by-one", "--prompts").stdout)["groups"][0]["rows"]
        in_step = json.loads(self.run_eval("in-step", *common).stdout)["groups"][0]["rows"]
        lines, plain = self.lines("apart"), self.without_times("in-step")
        for key, line in self.without_times("apart").items():
            self.assertEqual(line.pop("messages")[0].split("\n\nAnswer")[0], lines["eight_facts/900/1/0"]["messages"][0].split("\n\nAnswer")[0])
            self.assertEqual(len(line.pop("prompt")), line["prompt_tokens"])
            self.assertEqual(line, plain[key])
        for i, (row, other) in enumerate(zip(apart, in_step)):
            results = [line["results"][i] for line in lines.values()]
            self.assertEqual(row["right"], sum(result["score"] == 1 for result in results))
            for measure in "kv_bytes_held", "kv_bytes_peak", "decode_tokens_per_s":
                self.assertAlmostEqual(row[measure]["mean"] / (sum(result[measure] for result in results) / 3), 1, places=6)
            self.assertTrue(row["decode_tokens_per_s"]["low"] > 0)
            self.assertIsNone(other["decode_tokens_per_s"])
        with open(os.path.join(self.path("apart"), "run.json"), encoding="utf-8") as file:
            self.assertFalse(json.load(file)["settings"]["expanded"])
        right = next(iter(lines.values()))
        right["results"][1]["score"] = 1
        with open(os.path.join(self.path("apart"), "samples.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps(right) + "\n")
        again = json.loads(self.run_eval("apart", *common, "--one-by-one", "--prompts").stdout)
        self.assertEqual(again["groups"][0]["rows"][1]["right"], 1)

    def test_wrong_usage(self):
        for more, words in ((["needle"], "unknown task"), ([], "which tasks?"),
                            (["own", "--policies", "judgement"], "judgement"), (["own", "--budgets", "0"], "budget"),
                            (["own", "--budgets", "101%"], "budget"), (["own", "--length", "5"], "--length"),
                            (["own", "--policies", "snapkv,snapkv"], "the same"), (["own", "--chat", "--raw"], "--raw")):
            with self.subTest(more=more):
                self.assertIn(words, self.run_eval("wrong", *more, status=2).stderr)
        self.assertIn("-o DIR", subprocess.run([JUDGEQ, "eval", "own"], capture_output=True, encoding="utf-8",
                                               check=False).stderr)
        too_short = self.run_eval("short", "multi_key", "--length", "64", status=1)
        self.assertIn("--length is 64", too_short.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
