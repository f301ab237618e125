"""judgeq ingest reads documents once; judgeq run --context asks about them. test_ingest_cli.py JUDGEQ MAKE_FIXTURE"""

import json
import os
import sys
import unittest

from test_cli import JUDGEQ, LONG, Command

QUESTION = "is it in the rain?"


class Ingest(Command):
    def ingest(self, *arguments, model=None, **more):
        done = self.succeed("ingest", "-m", model or self.bpe, "-t", "1", "--json", *arguments, **more)
        return json.loads(done.stdout), done.stderr.decode()

    def ask(self, path, *arguments, question=QUESTION, model=None):
        done = self.succeed("run", "-m", model or self.bpe, "-t", "1", "--json", "--quiet", "-n", "8", "--context", path, "-p",
                            question, *arguments)
        return json.loads(done.stdout)

    def document(self, name, text=LONG):
        return self.write(name, text)

    def out(self, name):
        return os.path.join(self.folder, name + ".kv")

    def test_full_is_one_prompt(self):
        document, out = self.document("full.txt"), self.out("full")
        self.ingest("--policy", "full", document, "-o", out, "--quiet")
        found = self.ask(out)
        done = self.succeed("run", "-m", self.bpe, "-t", "1", "--json", "--quiet", "-n", "8", "--policy", "full", "-f", document, "-p",
                            QUESTION)
        whole = json.loads(done.stdout)
        self.assertEqual(found["text"], whole["text"])
        self.assertEqual(found["prompt_tokens"], whole["prompt_tokens"])
        self.assertGreater(found["context_tokens"], 0)
        self.assertEqual(whole["context_tokens"], 0)

    def test_rows_and_questions(self):
        for policy in "snapkv", "streaming", "h2o", "adakv", "laq":
            with self.subTest(policy):
                document, out = self.document("rows.txt"), self.out("rows-" + policy)
                said, notes = self.ingest("--policy", policy, "--budget", "24", "--slack", "8", document, "-o", out)
                self.assertEqual(said["budget"], 24)
                self.assertEqual(said["file_bytes"], os.path.getsize(out))
                self.assertGreater(said["kv_bytes_peak"], said["kv_bytes"])
                self.assertIn("judgeq run --context", notes)
                with open(out, "rb") as file:
                    before = file.read()
                first, second = self.ask(out), self.ask(out, question="and why?")
                self.assertEqual(self.ask(out)["text"], first["text"])
                self.assertEqual(first["budget"], 24)
                self.assertNotEqual(first["prompt_tokens"], second["prompt_tokens"])
                with open(out, "rb") as file:
                    self.assertEqual(file.read(), before)

    def test_speed_of_a_saved_conversation(self):
        """Tokens that were decoded before it was saved took none of this run's time."""
        out = self.out("talk")
        self.succeed("chat", "-m", self.endless, "-t", "1", "-n", "200", "--quiet", "--policy", "streaming", "--budget", "24",
                     text=f"the room\n/save {out}\n")
        found = self.ask(out, model=self.endless)
        decoded = found["decode_tokens_per_s"] * found["decode_s"]
        self.assertLess(abs(decoded - found["completion_tokens"]), 2)
        self.assertLess(found["n_rejudged"], 3)

    def test_documents_are_joined(self):
        one, other = self.document("one.txt", "the heron sings"), self.document("other.txt", "it rains")
        both, _ = self.ingest("--policy", "full", one, other, "-o", self.out("both"), "--quiet")
        joined, _ = self.ingest("--policy", "full", self.document("joined.txt", "the heron sings\n\nit rains"), "-o",
                                self.out("joined"), "--quiet")
        piped, _ = self.ingest("--policy", "full", "-", other, "-o", self.out("piped"), "--quiet", text="the heron sings\n")
        self.assertEqual(both["tokens"], joined["tokens"])
        self.assertEqual(piped["tokens"], joined["tokens"])

    def test_beyond_the_context(self):
        document, out = self.document("beyond.txt", LONG * 3), self.out("beyond")
        options = ("--policy", "snapkv,probe=window:8,keep=recent:8", "--budget", "24", "--slack", "8", "--ctx", "200")
        self.refuse(1, "--ctx", "ingest", "-m", self.bpe, "-t", "1", *options, document, "-o", out)
        said, _ = self.ingest(*options, "--unbounded", document, "-o", out, "--quiet")
        self.assertGreater(said["tokens"], 200)
        self.assertGreater(self.ask(out)["completion_tokens"], 0)

    def test_questions_are_read_as_the_document_was(self):
        """--raw is the file's: all tokens are those of one raw prompt, and an option that contradicts it is refused."""
        document, raw, message = self.document("as.txt"), self.out("raw"), self.out("message")
        self.ingest("--policy", "full", "--raw", document, "-o", raw, "--quiet")
        self.ingest("--policy", "full", document, "-o", message, "--quiet")
        for path, more in (raw, ("--raw",)), (message, ()):
            done = self.succeed("run", "-m", self.bpe, "-t", "1", "--json", "--quiet", "-n", "8", "-f", document, "-p", QUESTION,
                                *more)
            whole = json.loads(done.stdout)
            for options in (), more:
                found = self.ask(path, *options)
                self.assertEqual((found["prompt_tokens"], found["text"]), (whole["prompt_tokens"], whole["text"]))
        self.assertNotEqual(self.ask(raw)["prompt_tokens"], self.ask(message)["prompt_tokens"])
        run = ("run", "-m", "/nowhere.gguf", "-p", "x", "--context")
        self.refuse(2, "leave --raw out, or read the document again with judgeq ingest --raw", *run, message, "--raw")
        self.refuse(2, "--chat does not go with .*raw.kv", *run, raw, "--chat")
        self.refuse(2, "--no-think does not go with .*raw.kv", *run, raw, "--no-think")
        self.assertEqual(self.ask(message, "--chat")["text"], self.ask(message)["text"])

    def test_wrong_usage(self):
        document, out = self.document("usage.txt"), self.out("usage")
        self.refuse(2, "which document", "ingest")
        self.refuse(2, "-o", "ingest", document)
        self.refuse(2, "is one of the documents", "ingest", document, "-o", document)
        link = self.path("link.txt")
        os.symlink(document, link)
        for other in link, os.path.join(self.folder, ".", "usage.txt"):
            self.refuse(2, "is one of the documents", "ingest", document, "-o", other)
        self.refuse(1, "/nowhere", "ingest", "-m", self.bpe, "/nowhere.txt", "-o", out)
        self.ingest("--policy", "full", document, "-o", out, "--quiet")
        run = ("run", "-m", self.bpe, "--context", out)
        self.refuse(2, "needs a question", *run)
        for option in ("-f", document), ("--budget", "5"), ("--policy", "full"), ("--system", "x"), ("--keep", "sink:1"), \
                      ("--slack", "5"), ("--unbounded",), ("--ctx", "100"), ("--defer",), ("--plain-weights",), ("--kv-type", "q8_0"):
            self.refuse(2, "--context brings its own", *run, "-p", "x", *option)
        self.refuse(1, "not a session", "run", "-m", self.bpe, "--context", self.bpe, "-p", "x")
        self.refuse(1, "/nowhere", "run", "-m", self.bpe, "--context", "/nowhere.kv", "-p", "x")
        other = self.fixture("model", "qwen2", "other.gguf")
        self.refuse(1, "was read by the model", "run", "-m", other, "--context", out, "-p", "x")
        with open(out, "r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"\xff")
        self.refuse(1, "checksum", *run, "-p", "x")

    def test_bad_outputs_cost_no_time(self):
        """They are refused before the document is read and the model is looked for: neither is there."""
        folder = self.path("a folder.kv")
        os.mkdir(folder)
        for out, words in (("/nowhere/x.kv", "/nowhere/x.kv.*No such file"), (folder, "a folder.kv"), ("/dev/full", "/dev/full"),
                           (self.write("a file", "x") + "/x.kv", "x.kv")):
            self.refuse(1, words, "ingest", "-m", "/nowhere.gguf", "/nowhere.txt", "-o", out)
        self.assertEqual(os.listdir(folder), [])
        if os.geteuid() != 0:  # who may write everywhere
            os.chmod(folder, 0o500)
            self.refuse(1, "Permission denied", "ingest", "-m", "/nowhere.gguf", "/nowhere.txt", "-o", folder + "/x.kv")
        good = self.out("good")
        self.refuse(1, "/nowhere.txt", "ingest", "-m", "/nowhere.gguf", "/nowhere.txt", "-o", good)
        self.assertFalse(os.path.exists(good))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
