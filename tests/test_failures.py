"""What fails underneath the command: memory, disks, files that change. Nothing of it may end the process, leave a part of a
file, or pass unnoticed. fail_shim lets one call of the C library fail at a time.
test_failures.py JUDGEQ MAKE_FIXTURE FAIL_SHIM [unittest arguments]"""

import collections
import errno
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

from in_folder import InFolder

JUDGEQ, MAKE_FIXTURE, SHIM = (os.path.abspath(path) for path in sys.argv[1:4])

SENTENCE = "The heron sings to the iron ring in the rain, and the string is on the ring again. "

Done = collections.namedtuple("Done", "status output said calls frames")


def unchecked(frames):
    """Whether ggml does not look at whether it got this memory (docs/architecture.md, "Out of memory"): a part of the list
    of free blocks, by a function that it does not export and that may be a part of its caller, or the state of the threads
    of one graph."""
    return frames[:1] in (["libggml-base.so.0 ?"], ["libggml-base.so.0 ggml_gallocr_new"]) or any(frame.endswith(" ggml_graph_compute") for frame in frames)


class Failing(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make_model(MAKE_FIXTURE, "endless", "bpe-smollm")
        described = json.loads(subprocess.run([JUDGEQ, "inspect", "--json", cls.model], check=True,
                                              capture_output=True).stdout)
        cls.soft = cls.path("soft.npy")
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, %d), }" % described["n_embd"]
        header += " " * (-(len(header) + 11) % 64) + "\n"
        with open(cls.soft, "wb") as file:
            file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
            file.write(struct.pack("<f", 0.5) * 4 * described["n_embd"])
        cls.judge = cls.path("judge.gguf")
        subprocess.run([MAKE_FIXTURE, "judge", cls.model, cls.judge], check=True)
        cls.text = cls.path("text.txt")
        with open(cls.text, "w") as file:
            file.write(SENTENCE * 30)
        cls.session = cls.path("session.gguf")
        subprocess.run([MAKE_FIXTURE, "session", cls.model, cls.judge, "judge,probe=window:8+soft", cls.session], check=True)
        cls.data = cls.path("set.jsonl")
        with open(cls.data, "w") as file:
            print(json.dumps({"judgeq_data": 1, "model_fingerprint": described["fingerprint"]}), file=file)
            for i in range(3):
                print(json.dumps({"prompt": [(37 * k * k + i) % 200 for k in range(40)], "response": [3, 1, 4, 1, 5]}),
                      file=file)

    @classmethod
    def path(cls, *names):
        return os.path.join(cls.folder, *names)

    def execute(self, arguments, calls="", at=0, mode="once", reason=errno.ENOMEM, text=b""):
        """The command, or "resume ...", which make_fixture does: no command saves sessions."""
        program = MAKE_FIXTURE if arguments[0] == "resume" else JUDGEQ
        report = self.path("report")
        environment = os.environ | {"LD_PRELOAD": SHIM, "FAIL_CALLS": calls, "FAIL_AT": str(at), "FAIL_MODE": mode,
                                    "FAIL_ERRNO": str(int(reason)), "FAIL_REPORT": report, "GGML_NO_BACKTRACE": "1"}
        streams = {"input": text} if text else {"stdin": subprocess.DEVNULL}
        done = subprocess.run([program, *arguments], capture_output=True, env=environment, timeout=60, **streams)
        counted, *frames = [""]
        if os.path.exists(report):
            with open(report) as file:
                counted, *frames = file.read().splitlines()
            os.remove(report)
        return Done(done.returncode, done.stdout, done.stderr.decode(), int(counted or 0),
                    frames)


class Memory(Failing):
    """Each allocation fails, alone or with all that follow: an error and status 1, or it did not matter."""

    def numbers(self, n, first, last):
        """All of the last ones, where prompts are read and decoded; samples of libllama's thousands before."""
        return sorted({*range(1, first, 3), *range(first, n - last, 151), *range(max(n - last, 1), n + 1)})

    def each(self, arguments, first, last, output=None, text=b""):
        whole = self.execute(arguments, "malloc", text=text)
        self.assertEqual(whole.status, 0, whole.said)
        self.assertGreater(whole.calls, 50)
        expected = self.content(output)
        for i, at in enumerate(self.numbers(whole.calls, first, last)):
            for mode in ("once", "on") if i % 4 == 0 else ("once",):
                with self.subTest(at=at, mode=mode):
                    if output and os.path.exists(output):
                        os.remove(output)
                    done = self.execute(arguments, "malloc", at, mode, text=text)
                    self.check(done, whole, output, expected)

    @staticmethod
    def content(path):
        if not path or not os.path.exists(path):
            return None
        with open(path, "rb") as file:
            return file.read()

    def check(self, done, whole, output, expected):
        if done.status == -signal.SIGSEGV and unchecked(done.frames):
            return
        self.assertIn(done.status, (0, 1), (done.said, done.frames))
        if done.status == 0:
            self.assertEqual(done.output, whole.output, done.frames)
            self.assertEqual(self.content(output), expected, done.frames)
        else:
            self.assertRegex(done.said, r"(?i)no memory|out of memory|cannot allocate memory", done.frames)
            self.assertIn(self.content(output), (None, expected))

    def test_run(self):
        self.each(["run", "-m", self.model, "-t", "1", "-p", SENTENCE * 3, "-n", "3", "--policy", "snapkv", "--budget",
                   "32", "--quiet"], 150, 150)

    def test_run_with_a_judge(self):
        self.each(["run", "-m", self.model, "-t", "1", "-p", SENTENCE * 8, "-n", "2", "--judge", self.judge, "--policy",
                   "judge", "--budget", "32", "--raw", "--temp", "1", "--quiet"], 4, 120)

    def test_chat(self):
        self.each(["chat", "-m", self.model, "-t", "1", "-n", "2", "--policy", "streaming", "--budget", "20", "--quiet"],
                  250, 120, text=b"the room\nthe ring\\\nagain\n/kept\n/undo\nthe rain\n")

    def test_inspect(self):
        self.each(["inspect", self.judge], 4, 60)

    def test_inspect_a_model(self):
        self.each(["inspect", self.model, "--json"], 4, 200)

    def test_import(self):
        output = self.path("imported.gguf")
        self.each(["judge", "import", self.soft, "-m", self.model, "-o", output], 4, 25, output)

    def test_resume(self):
        output = self.path("resumed.gguf")
        self.each(["resume", self.model, self.judge, self.session, output], 4, 200, output)


class Writes(Failing):
    """Each call that writes a file fails, or writes a part: status 1, a message that names the file, and what is left is
    whole."""

    CALLS = "write,fsync,rename,open,close,truncate"

    def commands(self, folder):
        inside = lambda name: os.path.join(folder, name)
        few = ["-t", "1", "--quiet"]
        return {
            "import": ["judge", "import", self.soft, "-m", self.model, "-o", inside("judge.gguf")],
            "export": ["judge", "export", self.judge, "-o", inside("judge.npy")],
            "resume": ["resume", self.model, self.judge, self.session, inside("session.gguf")],
            "train": ["train", "-m", self.model, "--data", self.data, "-o", inside("judge.gguf"), "--n-soft", "2",
                      "--epochs", "1", "--checkpoint-every", "0", *few],
            "data": ["data", "-m", self.model, "-o", inside("set.jsonl"), "--tokens", "4", "--min", "40", "--max", "400",
                     "-n", "2", *few, self.text],
            "eval": ["eval", "needle_text", "-m", self.model, "-o", inside("results"), "--length", "256", "--samples",
                     "1", "--policies", "streaming", "--budgets", "32", "-n", "2", *few],
            "inspect": ["inspect", "--kept", "-m", self.model, "-p", SENTENCE * 2, "--policy", "streaming", "--html",
                        inside("kept.html"), *few],
            "bench": ["bench", "-m", self.model, "--lengths", "32", "--policies", "streaming", "--budgets", "16", "-n",
                      "2", "--repeat", "1", "--warm-up", "0", "-o", inside("bench.csv"), *few],
        }

    @staticmethod
    def files(folder):
        return {os.path.relpath(os.path.join(place, name), folder): os.path.join(place, name)
                for place, _, names in os.walk(folder) for name in names}

    def check_left(self, folder, whole):
        """Files of the whole run only, each of them complete as far as it goes."""
        for name, path in self.files(folder).items():
            self.assertIn(name, whole)
            with open(path, "rb") as file:
                content = file.read()
            if name.endswith(".jsonl"):
                self.assertTrue(content == b"" or content.endswith(b"\n"), name)
                for line in content.splitlines():
                    json.loads(line)
            elif name.endswith(".json"):
                json.loads(content)
            elif not name.endswith((".svg", ".checkpoint", ".csv")):
                self.assertEqual(content, whole[name], name)

    def whole(self, name):
        folder = tempfile.mkdtemp(dir=self.folder)
        done = self.execute(self.commands(folder)[name], self.CALLS)
        self.assertEqual(done.status, 0, done.said)
        left = {}
        for file, path in self.files(folder).items():
            with open(path, "rb") as stream:
                left[file] = stream.read()
        return done, left

    def numbers(self, n):
        return range(1, n + 1) if n <= 40 else [*range(1, 25), *range(n - 15, n + 1)]

    def each(self, name, mode, reason):
        whole, left = self.whole(name)
        left["judge.gguf.checkpoint"] = b""
        self.assertGreater(whole.calls, 3)
        for at in self.numbers(whole.calls):
            folder = tempfile.mkdtemp(dir=self.folder)
            with self.subTest(command=name, at=at, mode=mode, reason=reason):
                done = self.execute(self.commands(folder)[name], self.CALLS, at, mode, reason)
                self.check_left(folder, left)
                if done.status == 0:  # what failed did not matter: all is there, but for a picture of curves
                    missing = {*left} - {*self.files(folder)}
                    self.assertLessEqual(missing, {"judge.gguf.checkpoint", "judge.gguf.log.svg"}, done.frames)
                else:
                    self.assertEqual(done.status, 1, (done.said, done.frames))
                    self.assertIn(folder, done.said)
                    self.assertIn(os.strerror(reason), done.said)
            shutil.rmtree(folder)

    def test_each_call(self):
        for i, name in enumerate(self.commands("")):
            self.each(name, "once", (errno.ENOSPC, errno.EIO)[i % 2])

    def test_all_that_follow(self):
        for name in ("import", "data", "inspect"):
            self.each(name, "on", errno.ENOSPC)

    def test_part_of_a_write(self):
        for name in self.commands(""):
            whole, left = self.whole(name)
            writes = self.execute(self.commands(tempfile.mkdtemp(dir=self.folder))[name], "write").calls
            for at in self.numbers(writes)[:12]:
                folder = tempfile.mkdtemp(dir=self.folder)
                with self.subTest(command=name, at=at):
                    done = self.execute(self.commands(folder)[name], "write", at, "short")
                    self.assertEqual(done.status, 0, done.said)
                    self.assertEqual({*self.files(folder)}, {*left})
                    self.check_left(folder, left)
                shutil.rmtree(folder)

    def test_limit_on_files(self):
        """ulimit -f sends a signal, which ends a program that does not ignore it."""
        for name in ("import", "export", "inspect", "data"):
            folder = tempfile.mkdtemp(dir=self.folder)
            with self.subTest(command=name):
                done = subprocess.run([JUDGEQ, *self.commands(folder)[name]], capture_output=True, timeout=60,
                                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(b"File too large", done.stderr)
                self.assertEqual(self.files(folder), {})


class Outputs(Failing):
    """A result that cannot be written is noticed before work begins: here, before the model is looked for."""

    def test_bad_targets(self):
        commands = {
            "judge import": ["judge", "import", self.soft, "-m", "/nowhere", "-o", "OUT.gguf"],
            "judge export": ["judge", "export", "/nowhere", "-o", "OUT.npy"],
            "train": ["train", "-m", "/nowhere", "--data", "/nowhere", "-o", "OUT.gguf"],
            "train, log": ["train", "-m", "/nowhere", "--data", "/nowhere", "-o", self.path("j.gguf"), "--log", "OUT.l"],
            "data": ["data", "-m", "/nowhere", "-o", "OUT.jsonl", self.text],
            "eval": ["eval", "own", "-m", "/nowhere", "-o", "OUT/below"],
            "bench": ["bench", "-m", "/nowhere", "-o", "OUT.csv"],
            "inspect": ["inspect", "--kept", "-m", "/nowhere", "-p", "x", "--html", "OUT.html"],
        }
        os.mkdir(self.path("taken"))
        for name, arguments in commands.items():
            for target, reason in (("missing/out", "No such file or directory"), ("text.txt/out", "Not a directory")):
                with self.subTest(command=name, target=target):
                    given = [part.replace("OUT", self.path(target)) for part in arguments]
                    done = self.execute(given)
                    self.assertEqual(done.status, 1, done.said)
                    self.assertIn(self.path(target.split("/")[0]), done.said)
                    self.assertIn(reason, done.said)
        for ending in (".gguf", ".npy", ".jsonl", ".csv", ".html", ".l"):
            os.mkdir(self.path("folder" + ending))
        for name, arguments in commands.items():
            if name != "eval":
                with self.subTest(command=name, target="a folder"):
                    done = self.execute([part.replace("OUT", self.path("folder")) for part in arguments])
                    self.assertEqual(done.status, 1, done.said)
                    self.assertIn("is a folder", done.said)
        done = self.execute(["eval", "own", "-m", "/nowhere", "-o", self.text])
        self.assertEqual((done.status, "no folder" in done.said), (1, True), done.said)

    def test_report(self):
        folder = self.path("results")
        done = self.execute(["eval", "needle_text", "-m", self.model, "-o", folder, "--length", "256", "--samples", "1",
                             "--policies", "streaming", "--budgets", "32", "-n", "2", "-t", "1", "--quiet"])
        self.assertEqual(done.status, 0, done.said)
        for option in ("-o", "--pictures"):
            done = self.execute(["report", folder, option, self.path("missing/x")])
            self.assertEqual(done.status, 1, done.said)
            self.assertIn(self.path("missing/x"), done.said)
        self.assertEqual(sorted(os.listdir(folder)), ["run.json", "samples.jsonl"])

    def test_data_without_an_example(self):
        output, short = self.path("none.jsonl"), self.path("short.jsonl")
        with open(short, "w") as file:
            print(json.dumps({"messages": [{"role": "user", "content": "Why?"}]}), file=file)
        done = self.execute(["data", "-m", self.model, "-o", output, "--min", "380", "--tokens", "4", "-t", "1", "--quiet",
                             short])
        self.assertEqual(done.status, 1, done.said)
        self.assertRegex(done.said, r"none.jsonl: not one example .* shorter than --min 380")
        self.assertFalse(os.path.exists(output))


class Shrinking(Failing):
    """A model file that is cut short while it is mapped, as by a download that starts again."""

    def test_while_it_decodes(self):
        model = self.path("shrinking.gguf")
        shutil.copy(self.model, model)
        process = subprocess.Popen([JUDGEQ, "run", "-m", model, "-t", "1", "-p", SENTENCE, "-n", "100000", "--quiet"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(1)
        os.truncate(model, 5000)
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, said)
        self.assertRegex(said.decode(), r"\Ajudgeq: .*shrinking.gguf: has become shorter .* start again when it is whole\n\Z")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
