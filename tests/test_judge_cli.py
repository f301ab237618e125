"""Which judge the command uses, and what it does without one, on tiny models.
test_judge_cli.py JUDGEQ MAKE_FIXTURE JUDGES_FROM_PROGRAM [unittest arguments]"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
JUDGES_FROM_PROGRAM = sys.argv[3]

LONG = "The heron sings to the iron ring in the rain, and the string is on the ring again. " * 10
# as judgeq policies and results show "snapkv,probe=window:16,keep=recent:16"
FALLBACK = "probe=window:16,reduce=mean/mean,smooth=max:7,allocate=uniform,keep=recent:16"


class Command(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="judgeq-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = self.fixture("endless", "bpe-smollm", "a model.gguf")
        self.beside = self.path("a model.judge.gguf")

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def fixture(self, kind, source, name):
        path = self.path(name)
        subprocess.run([MAKE_FIXTURE, kind, source, path], check=True)
        return path

    def execute(self, *arguments, status=0, program=JUDGEQ):
        done = subprocess.run([program, *arguments], capture_output=True, timeout=120)
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return done

    def of_run(self, *more, model=None):
        return ["run", "-m", model or self.model, "-t", "1", "-p", LONG, "-n", "4", "--budget", "48", "--json", *more]

    def answer(self, *more, model=None, program=JUDGEQ):
        """The JSON object, and the notes."""
        done = self.execute(*self.of_run(*more, model=model), program=program)
        notes = re.findall(r"^judgeq: note: (.*)$", done.stderr.decode(), re.MULTILINE)
        return json.loads(done.stdout), [note for note in notes if "tokenizer" not in note]

    def refusal(self, *more):
        said = self.execute(*self.of_run(*more), status=1).stderr.decode()
        self.assertRegex(said, r"\Ajudgeq: [^\n]*\n\Z")
        return said


class WithoutAJudge(Command):
    def test_run(self):
        answer, (note,) = self.answer()
        self.assertEqual((answer["policy"], answer["judge"]), (FALLBACK, None))
        self.assertIn("snapkv,probe=window:16,keep=recent:16", note)
        self.assertEqual(self.execute(*self.of_run("--quiet")).stderr, b"")

    def test_choices_stay(self):
        answer, _ = self.answer("--reduce", "max", "--keep", "sink:2")
        self.assertEqual(answer["policy"], FALLBACK.replace("mean/mean", "max/max").replace("recent:16", "sink:2"))

    def test_a_judge_that_is_asked_for(self):
        for asked in ("--policy", "judge"), ("--probe", "soft:2"):
            self.assertIn("needs a judge", self.refusal(*asked))
        self.assertIn("nowhere.gguf", self.refusal("--judge", self.path("nowhere.gguf")))

    def test_the_command_of_the_note(self):
        """It trains a judge, which is used from then on. In the test, on a text of its own and a few examples."""
        _, (note,) = self.answer()
        command = shlex.split(note[note.index("judgeq train"):])
        self.assertEqual(command[command.index("-o") + 1], self.beside)
        os.mkdir(self.path("texts"))
        with open(self.path("texts", "rain.txt"), "w") as file:
            file.write(LONG * 40)
        command[-1] = self.path("texts")
        command[command.index("-n") + 1] = "3"
        command[command.index("--retrieval") + 1] = "0"  # a tiny model finds nothing
        command[command.index("--max") + 1] = "400"
        self.execute(*command[1:], "-t", "1", "--n-soft", "4", "--replay", "1")
        answer, notes = self.answer("--probe", "soft:4")
        self.assertEqual((answer["judge"], notes), (self.beside, []))

    def test_kept(self):
        done = self.execute("inspect", "--kept", "-m", self.model, "-t", "1", "-p", LONG, "--json")
        self.assertEqual([cut["policy_text"] for cut in json.loads(done.stdout)["cuts"]], [FALLBACK])
        self.assertEqual(done.stderr.count(b"this model has no judge"), 1)

    def test_eval(self):
        run = ("eval", "needle_text", "-m", self.model, "-t", "1", "--length", "512", "--samples", "1", "-n", "4")
        done = self.execute(*run, "-o", self.path("results"), "--json")
        with open(self.path("results", "run.json")) as file:
            policies = [policy["policy"] for policy in json.load(file)["policies"]]
        self.assertEqual(policies, ["full", "streaming", "snapkv", "snapkv,probe=window:16,keep=recent:16"])
        self.assertEqual(done.stderr.count(b"this model has no judge"), 1)
        named = self.execute(*run, "-o", self.path("named"), "--policies", "snapkv,judge", status=1)
        self.assertIn(b"needs a judge", named.stderr)

    def test_bench(self):
        run = ("bench", "-m", self.model, "--lengths", "64", "-n", "2", "--repeat", "1", "--budgets", "32", "-t", "1")
        done = self.execute(*run, "--json")
        self.assertIn("snapkv,probe=window:16,keep=recent:16", done.stdout.decode())
        self.assertEqual(done.stderr.count(b"this model has no judge"), 1)
        self.assertIn(b"needs a judge", self.execute(*run, "--policies", "judge", status=1).stderr)


class BesideTheModel(Command):
    def test_found(self):
        self.fixture("judge", self.model, "a model.judge.gguf")
        answer, notes = self.answer()
        self.assertEqual((answer["judge"], notes), (self.beside, []))

    def test_no_use(self):
        """Somebody put it there: it is not passed over in silence."""
        judge = self.fixture("judge", self.model, "judge.gguf")
        other = self.fixture("judge", self.fixture("model", "llama", "other.gguf"), "other.judge.gguf")
        with open(judge, "rb") as file:
            content = file.read()
        for what, source, words in (("cut short", content[:-100], ""), ("empty", b"", ""),
                                    ("a text", b"no judge", "not a GGUF file"), ("a model", self.model, "not a judge"),
                                    ("another model's", other, 'belongs to model "llama"')):
            with self.subTest(what):
                if isinstance(source, str):
                    shutil.copy(source, self.beside)
                else:
                    with open(self.beside, "wb") as file:
                        file.write(source)
                said = self.refusal()
                self.assertIn(self.beside, said)
                self.assertIn(words, said)
                self.assertIn("beside the model: move it away, or name a judge with --judge FILE", said)
                self.assertEqual(self.answer("--judge", judge)[0]["judge"], judge)
                self.assertIsNone(self.answer("--policy", "snapkv")[0]["judge"])
        os.remove(self.beside)
        os.symlink(self.path("nowhere"), self.beside)
        self.assertIn(self.beside, self.refusal())


class InTheFolder(Command):
    """A copy of the program, and a judges folder where an installed one has its own."""

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("bin"))
        self.program = self.path("bin", "judgeq")
        shutil.copy(JUDGEQ, self.program)
        self.judges = os.path.normpath(self.path("bin", JUDGES_FROM_PROGRAM))
        os.makedirs(self.judges)

    def put(self, name, content):
        with open(os.path.join(self.judges, name), "wb") as file:
            file.write(content)

    def test_others_are_passed_over(self):
        with open(self.fixture("judge", self.model, "judge.gguf"), "rb") as file:
            content = file.read()
        with open(self.fixture("judge", self.fixture("model", "llama", "other.gguf"), "b.gguf"), "rb") as file:
            self.put("b.gguf", file.read())
        self.put("a.gguf", content[:-100])
        answer, notes = self.answer(program=self.program)
        self.assertEqual((answer["policy"], len(notes)), (FALLBACK, 2))  # the damaged one, and that there is none
        self.put("c.gguf", content)
        answer, (note,) = self.answer(program=self.program)
        self.assertTrue(os.path.samefile(answer["judge"], os.path.join(self.judges, "c.gguf")))
        self.assertRegex(note, r"\Apassed over: .*a\.gguf: ")
        self.assertEqual(self.execute(*self.of_run("--quiet"), program=self.program).stderr, b"")


class Quantisations(Command):
    def test_note(self):
        """One note, where the judge was trained with another quantisation of the model."""
        judge = self.fixture("judge", self.fixture("model", "q4_1", "q4_1.gguf"), "judge.gguf")
        self.assertEqual(json.loads(self.execute("inspect", judge, "--json").stdout)["weight_type"], "q4_1")
        for kind, expected in ("q4_1", 0), ("q8_0", 1), ("f16", 1):
            model = self.fixture("model", kind, kind + ".gguf")
            answer, notes = self.answer("--judge", judge, model=model)
            self.assertEqual((answer["judge"], len(notes)), (judge, expected))
            self.assertEqual("".join(notes).count(f"trained with the q4_1 weights of this model, which has {kind} here"),
                             expected)


class OwnChoices(Command):
    """What a judge says about its scores."""

    def kept(self, policy, judge):
        done = self.execute("inspect", "--kept", "-m", self.model, "-t", "1", "-p", LONG, "--judge", judge, "--policy", policy,
                            "--budget", "32", "--json", "--quiet")
        cut, = json.loads(done.stdout)["cuts"]
        return {key: value for key, value in cut.items() if not key.startswith("policy")}

    def test_kept(self):
        silent = self.fixture("judge", self.model, "silent.gguf")
        speaking = self.path("speaking.gguf")
        self.execute("judge", "import", silent, "-m", self.model, "-o", speaking, "--choices", "reduce=mean/mean,smooth=none")
        self.assertEqual(json.loads(self.execute("inspect", silent, "--json").stdout)["choices"], None)
        self.assertEqual(json.loads(self.execute("inspect", speaking, "--json").stdout)["choices"], "reduce=mean/mean,smooth=none")
        plain, smooth = self.kept("judge,reduce=mean/mean,smooth=none", silent), self.kept("judge", silent)
        self.assertNotEqual(plain, smooth)
        self.assertEqual(self.kept("judge-later", silent), smooth)
        self.assertEqual(self.kept("judge-later", speaking), plain)
        self.assertEqual(self.kept("judge", speaking), smooth)
        self.assertEqual(self.kept("judge-later,reduce=max,smooth=avg:7", speaking), smooth)
        self.execute("judge", "import", speaking, "-m", self.model, "-o", self.path("again.gguf"), "--choices", "")
        self.assertEqual(json.loads(self.execute("inspect", self.path("again.gguf"), "--json").stdout)["choices"], None)

    def test_other_choices_are_refused(self):
        silent = self.fixture("judge", self.model, "silent.gguf")
        for choices, said in (("keep=none", "expected reduce and smooth"), ("reduce=mean,keep=none", "expected reduce and smooth"),
                              ("smooth=judge", "expected reduce and smooth"), ("smooth=avg:2", "smooth does not accept")):
            done = self.execute("judge", "import", silent, "-m", self.model, "-o", self.path("no.gguf"), "--choices", choices, status=2)
            self.assertIn(said, done.stderr.decode())

    def test_a_document_is_read_for_later(self):
        silent = self.fixture("judge", self.model, "silent.gguf")
        self.execute("judge", "import", silent, "-m", self.model, "-o", self.beside, "--choices", "reduce=mean/mean,smooth=none")
        with open(self.path("text.txt"), "w") as file:
            file.write(LONG)
        done = self.execute("ingest", "-m", self.model, "-t", "1", "--budget", "32", self.path("text.txt"), "-o", self.path("text.kv"),
                            "--json", "--quiet")
        self.assertEqual(json.loads(done.stdout)["policy"], "probe=soft,reduce=mean/mean,smooth=none,allocate=judge:0.2,keep=recent:8,remember=0.8")
        self.execute("run", "-m", self.model, "-t", "1", "-n", "4", "--context", self.path("text.kv"), "-p", "the rain")


class Import(Command):
    def test_a_deep_judge_is_said_to_have_layers(self):
        model = json.loads(self.execute("inspect", "--json", self.model).stdout)
        layers, width = model["n_layer"], model["n_embd"]
        array = self.path("soft.npy")
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({layers}, 2, {width})}}".ljust(117) + "\n"
        with open(array, "wb") as file:
            file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
            file.write(bytes(4 * layers * 2 * width))
        done = self.execute("judge", "import", array, "-m", self.model, "-o", self.beside)
        self.assertIn(f"2 soft tokens of {width} elements, in each of {layers} layers, for", done.stderr.decode())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
