"""judgeq chat on tiny models, at a terminal and in a pipe. Answers are held to judgeq run's on the rendered conversation.
test_conversation.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import time
import unittest

from arguments import with_defaults

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])

CHATML = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
# Earlier answers are written otherwise than the model began them.
FORGETFUL = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content if m.role != 'assistant' else '- ' + m.content) +\
 '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' }}"""
TEXT = "the room in the rain is on a string again and the heron sings to the iron ring "
BEGUN = r"[\s\S]{2}"  # an answer; where it was stopped before, the next one begins with any byte
STATUS = r"chose again \d+ times?[^\n]*\n"


class Person:
    """Somebody at a terminal: types, and waits for what the command shows."""

    def __init__(self, *arguments, env=None):
        self.master, terminal = os.openpty()
        termios.tcsetwinsize(terminal, (40, 100))
        environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "1", **(env or {})}

        def own_terminal():
            os.setsid()
            import fcntl
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([JUDGEQ, "chat", *arguments], stdin=terminal, stdout=terminal, stderr=terminal,
                                        env=environment, preexec_fn=own_terminal)
        os.close(terminal)
        self.shown, self.read = "", 0

    def _pump(self):
        if not select.select([self.master], [], [], 0.1)[0]:
            return True
        try:
            part = os.read(self.master, 65536)
        except OSError:  # the last program at the terminal has ended
            return False
        self.shown += part.decode(errors="replace").replace("\r\n", "\n")
        return bool(part)

    def wait(self, pattern):
        """What is shown up to the first match from here on, and the match."""
        end = time.monotonic() + 20
        while not (found := re.search(pattern, self.shown[self.read:])):
            if not self._pump() or time.monotonic() > end:
                raise AssertionError(f"no {pattern!r} in {self.shown[self.read:]!r}")
        before = self.shown[self.read:self.read + found.end()]
        self.read += found.end()
        return before

    def type(self, text):
        """At a prompt."""
        self.wait("> ")
        os.write(self.master, text.encode())

    def keys(self, text):
        os.write(self.master, text.encode())

    def say(self, text, pattern=STATUS):
        self.type(text + "\n")
        return self.wait(pattern)

    def end(self):
        """The exit status."""
        end = time.monotonic() + 20
        while self._pump() and time.monotonic() < end:
            pass
        os.close(self.master)
        return self.process.wait(20)


class Conversation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="judgeq-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        os.environ.update(XDG_STATE_HOME=cls.path("state"), HOME=cls.folder)
        cls.model = cls.make("template", "bpe-smollm", "model.gguf", CHATML)
        cls.endless = cls.make("endless", "bpe-smollm", "endless.gguf")
        cls.plain = cls.make("model", "bpe-default", "plain.gguf")
        cls.forgetful = cls.make("template", "bpe-smollm", "forgetful.gguf", FORGETFUL)

    @classmethod
    def path(cls, *names):
        return os.path.join(cls.folder, *names)

    @classmethod
    def make(cls, kind, spec, name, *more):
        subprocess.run([MAKE_FIXTURE, kind, spec, cls.path(name), *more], check=True)
        return cls.path(name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def pipe(self, text, *arguments, model=None, status=0, policy=("--policy", "full")):
        """Answers to the lines of `text`, and what was said."""
        done = subprocess.run([JUDGEQ, "chat", "-m", model or self.model, "-t", "1", *policy, *arguments],
                              input=text.encode(), capture_output=True, timeout=120)
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return done.stdout.decode(), done.stderr.decode()

    def answers(self, text, *arguments, **more):
        out, said = self.pipe(text, "--json", *with_defaults({"-n": "12"}, arguments), **more)
        return [json.loads(line) for line in out.splitlines()], said

    def person(self, *arguments, model=None, **more):
        defaults = {"-m": model or self.endless, "-t": "1", "--policy": "full"}
        person = Person(*with_defaults(defaults, arguments), **more)
        self.addCleanup(person.process.kill)
        return person

    def run_raw(self, model, prompt, n):
        done = subprocess.run([JUDGEQ, "run", "-m", model, "-t", "1", "--raw", "-p", prompt, "-n", str(n), "--json",
                               "--quiet"], capture_output=True, check=True, timeout=120, stdin=subprocess.DEVNULL)
        return json.loads(done.stdout)


class Turns(Conversation):
    def test_as_run_on_the_rendered_text(self):
        """Answers of three turns. A tiny model writes bytes: those answers count whose text is read as the tokens that the
        model wrote."""
        n_equal, different = 0, set()
        for spec in ("qwen2", "mistral", "qwen3", "bpe-smollm"):
            model = self.make("template", spec, spec + ".gguf", CHATML)
            for n in range(1, 5):
                turns = ["the room", "again?", "a string"]
                answers, _ = self.answers("\n".join(turns) + "\n", "--system", "the heron", "-n", str(n), model=model)
                self.assertEqual(len(answers), 3)
                prompt = "<|im_start|>system\nthe heron<|im_end|>\n"
                for turn, answer in zip(turns, answers):
                    prompt += f"<|im_start|>user\n{turn}<|im_end|>\n<|im_start|>assistant\n"
                    alone = self.run_raw(model, prompt, n)
                    unread = answer["finish_reason"] == "length"
                    if alone["prompt_tokens"] != answer["tokens_seen"] - len(answer["tokens"]) + unread:
                        break
                    self.assertEqual(alone["tokens"], answer["tokens"])
                    self.assertEqual(alone["finish_reason"], answer["finish_reason"])
                    n_equal += 1
                    different.add((tuple(answer["tokens"])))
                    if "\ufffd" in answer["text"]:
                        break
                    prompt += answer["text"] + "<|im_end|>\n"
        self.assertGreaterEqual(n_equal, 20)
        self.assertGreaterEqual(len(different), 10)

    def test_a_line_is_a_turn(self):
        answers, said = self.answers("the room\n\n  \nagain\r\nthe ring")
        self.assertEqual(len(answers), 3)
        self.assertEqual(said.count("chose again"), 3)
        out, said = self.pipe("the room\nagain\nthe ring\n", "-n", "1", "--quiet", model=self.endless)
        self.assertEqual((out.count("\n"), said), (3, ""))
        self.assertEqual(self.pipe("", "-n", "1"), ("", ""))

    def test_several_lines(self):
        for text in ("a\\\nb\n", '"""a\nb"""\n', '"""\na\nb"""\n', 'a\\\nb', '  """a\nb'):
            answers, _ = self.answers(text)
            self.assertEqual([a["prompt_tokens"] for a in answers], [self.n_tokens("a\nb")], text)
        self.assertEqual(len(self.answers('"""/undo it"""\n"""one"""\n')[0]), 2)

    def n_tokens(self, text):
        return self.run_raw(self.model, f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n", 1)["prompt_tokens"]

    def test_json(self):
        answers, said = self.answers("the room\nagain\n", "--budget", "20", policy=("--policy", "streaming"))
        n_seen = 0
        for answer in answers:
            self.assertEqual(answer["completion_tokens"], len(answer["tokens"]))
            self.assertIn(answer["finish_reason"], ("stop", "length"))
            self.assertGreater(answer["tokens_seen"], n_seen + answer["prompt_tokens"])
            self.assertLessEqual(answer["rows_held"], 20 + 32)
            self.assertIn("sink", answer["policy"])
            n_seen = answer["tokens_seen"]
        self.assertEqual(said.count("rows held"), 2)

    def test_bounded_and_unbounded(self):
        lines = (TEXT.strip() + "\n") * 40
        streaming = {"policy": ("--policy", "streaming", "--budget", "32"), "model": self.endless}
        _, said = self.pipe(lines, "--ctx", "256", "-n", "4", status=1, **streaming)
        self.assertIn("--unbounded", said)
        self.assertIn("/reset", said)
        answers, _ = self.answers(lines, "--ctx", "256", "--unbounded", **streaming)
        self.assertEqual(len(answers), 40)
        self.assertGreater(answers[-1]["tokens_seen"], 1000)
        self.assertLessEqual(max(a["rows_held"] for a in answers), 32 + 32)
        self.assertEqual(answers[-1]["kv_bytes_peak"], answers[-2]["kv_bytes_peak"])

    def test_after_what_does_not_fit(self):
        answers, said = self.answers(f"the room\n{TEXT * 8}\nagain\n/reset\nthe room\n", "--ctx", "160", status=1)
        self.assertEqual(len(answers), 3)
        self.assertEqual(said.count("the context holds 160"), 1)
        self.assertEqual(answers[0]["tokens"], answers[2]["tokens"])
        out, said = self.pipe("the room\n", "--ctx", "40", "-n", "100", model=self.endless)
        self.assertIn("the context is full", said)

    def test_templates(self):
        _, said = self.answers("the room\nagain\nthe ring\n", model=self.forgetful)
        self.assertEqual(said.count("writes earlier turns otherwise"), 1)
        answers, said = self.answers("the room\nagain\n", model=self.plain)
        self.assertEqual(len(answers), 2)
        self.assertEqual(said.count("continued as it is"), 1)
        _, said = self.pipe("x\n", "--system", "y", model=self.plain, status=1)
        self.assertIn("no chat template", said)
        _, said = self.pipe("x\n", "-n", "1", "--no-think")
        self.assertIn("no switch for thinking", said)

    def test_default_method(self):
        answers, said = self.answers("the room\n", "--ctx", "300", policy=())
        self.assertIn("judge", said)  # there is none, and a note says so
        self.assertIn("window:16", answers[0]["policy"])
        _, said = self.pipe("/budget\n", "--ctx", "300", policy=())
        self.assertIn("budget 150 rows", said)
        _, said = self.pipe("/budget\n", "--ctx", "9000", policy=())
        self.assertIn("budget 1,024 rows", said)

    def test_wrong_usage(self):
        for arguments, words in ((["hello"], "what is"), (["--budget", "0"], "--budget"), (["--budget", "5%"], "--budget"),
                                 (["--slack", "-1"], "rows"), (["-p", "x"], "-p")):
            _, said = self.pipe("", *arguments, status=2)
            self.assertIn(words, said)
        _, said = self.pipe("", "--unbounded", status=2)  # with full
        self.assertIn("unbounded", said)
        _, said = self.pipe("", policy=("--policy", "snapkw"), status=2)
        self.assertIn("snapkv", said)

    def test_output_that_fails(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([JUDGEQ, "chat", "-m", self.endless, "-t", "1", "-n", "2"], input=b"a\nb\n", stdout=full,
                                  stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.decode().count("No space left"), 1)

    def test_interrupted_script(self):
        process = subprocess.Popen([JUDGEQ, "chat", "-m", self.endless, "-t", "1", "--policy", "streaming", "--budget", "32",
                                    "--unbounded", "-n", "100000000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.stdin.write(b"the room\nagain\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.read(1))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)


class Commands(Conversation):
    def test_undo(self):
        answers, said = self.answers("the room\nagain\n/undo\nagain\n/undo\n/undo\nthe room\n/undo\n/undo\n", status=2)
        self.assertEqual(len(answers), 4)
        self.assertEqual(answers[1]["tokens"], answers[2]["tokens"])
        self.assertEqual(answers[1]["tokens_seen"], answers[2]["tokens_seen"])
        self.assertGreater(answers[2]["prompt_tokens"], answers[1]["prompt_tokens"])  # all of it
        self.assertEqual(answers[0]["tokens"], answers[3]["tokens"])
        self.assertIn("no turn to undo", said)

    def test_reset(self):
        answers, _ = self.answers("the room\nagain\n/reset\nthe room\n")
        self.assertEqual(answers[0]["tokens"], answers[2]["tokens"])
        self.assertEqual(answers[0]["tokens_seen"], answers[2]["tokens_seen"])

    def test_budget_and_policy(self):
        text = (f"{TEXT}\n/budget 16\nagain\n/budget\n/policy full\nagain\n/policy\n/policy snapkw\n/budget none\n/budget 0\n"
                "again\n")
        answers, said = self.answers(text, policy=("--policy", "streaming", "--budget", "40", "--slack", "4"), status=2)
        self.assertEqual(len(answers), 4)
        self.assertLessEqual(answers[0]["rows_held"], 44)
        self.assertLessEqual(answers[1]["rows_held"], 20)
        self.assertEqual(answers[2]["rows_held"], answers[2]["tokens_seen"])  # what was evicted is read again
        self.assertEqual(answers[3]["rows_held"], answers[3]["tokens_seen"])
        self.assertIn("budget 16 rows per layer and KV head; the next turn reads the conversation so far again", said)
        self.assertIn("policy full, budget 16 rows", said)
        self.assertEqual(said.count("at least 1"), 2)
        self.assertIn("snapkv", said)

    def test_read(self):
        document = self.write("document.txt", TEXT * 2 + "\n")
        answers, said = self.answers(f"the room\n/read {document}\nwho?\nagain\n")
        self.assertRegex(said, r"read \d+ tokens; your next turn begins with ")
        quoted, _ = self.answers('the room\n"""' + TEXT * 2 + '\n\nwho?"""\nagain\n')
        self.assertEqual([a["tokens"] for a in answers], [a["tokens"] for a in quoted])
        self.assertEqual([a["tokens_seen"] for a in answers], [a["tokens_seen"] for a in quoted])
        self.assertLess(answers[1]["prompt_tokens"], 20)  # the document had been read
        _, said = self.answers(f"/read {document}\n/undo\nthe room\n")
        self.assertIn("the document is gone", said)

    def test_read_what_cannot_be(self):
        empty, large = self.write("empty.txt", "\n"), self.write("large.txt", TEXT * 20)
        binary = self.write("binary.txt", "a\0b")
        for file, words in ((empty, "empty"), (large, "the context holds 200"), (binary, "zero byte"), ("", "which file"),
                            (self.path("none"), "No such file"), (self.folder, "directory")):
            answers, said = self.answers(f"the room\n/read {file}\nagain\n", "--ctx", "200", status=2 if words in (
                "empty", "which file") else 1)
            self.assertIn(words, said)
            self.assertEqual(len(answers), 2)

    def test_kept(self):
        out, _ = self.pipe(f"{TEXT}\n/kept\n", "-n", "1", "--quiet", policy=("--policy", "streaming", "--budget", "16"),
                           model=self.endless)
        lines = out.split("\n")
        self.assertIn("budget 16: 16 of", out)
        shown = [i for i, line in enumerate(lines) if line == "user"][0]
        self.assertEqual(lines[shown + 1], "####")  # four sinks: <|im_start|>, u, s, er
        self.assertIn("the room in the rain", out)
        self.assertEqual(lines[-4:], ["assistant", "#########", "", ""])
        self.assertIn("nothing was said", self.pipe("/kept\n")[1])
        out, said = self.pipe("the room\n/budget 20\n/kept\n", "-n", "1", model=self.endless)
        self.assertIn("the room", out)  # read again, to be shown
        self.assertIn("leaves no place", self.pipe("/kept\n", "--json", status=2)[1])

    def test_save_and_load(self):
        file = self.path("saved")
        document = self.write("saved.txt", TEXT)
        method = {"policy": ("--policy", "streaming", "--budget", "30", "--slack", "8")}
        for between in ("", f"/read {document}\n"):
            whole, _ = self.answers(f"{TEXT}\nthe room\n{between}again\n/undo\n/undo\nthe ring\n", **method)
            self.answers(f"{TEXT}\nthe room\n{between}/save {file}\n", **method)
            later, said = self.answers(f"a string\n/load {file}\nagain\n/undo\n/undo\nthe ring\n")
            self.assertRegex(said, r"a conversation of \d+ tokens")
            self.assertRegex(said, r"policy \S*sink:4\S*, budget 30 rows")
            for saved, fresh in zip(whole[2:], later[1:]):
                self.assertEqual(saved["tokens"], fresh["tokens"])
                self.assertEqual(saved["tokens_seen"], fresh["tokens_seen"])
                self.assertEqual(saved["rows_held"], fresh["rows_held"])

    def test_save_and_load_what_cannot_be(self):
        file = self.path("kept")
        self.assertIn("nothing was said", self.pipe(f"/save {file}\n", status=2)[1])
        self.assertIn("which file", self.pipe("the room\n/save\n", status=2)[1])
        self.assertIn("which file", self.pipe("/load\n", status=2)[1])
        self.assertIn("no conversation", self.pipe(f"the room\n/save {self.write('text', 'x')}\n", status=2)[1])
        self.assertIn("none", self.pipe(f"the room\n/save {self.path('none', 'x')}\n", status=1)[1])
        self.pipe(f"the room\n/undo\nthe ring\n/save {file}\n/save {file}\n")
        for damage, words in ((lambda o: o["tokens"].pop(), "turns"), (lambda o: o["messages"].pop(), "whole turns"),
                              (lambda o: o["tokens"].__setitem__(3, 7), "its session is not that of"),
                              (lambda o: o["tokens"].__setitem__(3, 10 ** 9), "vocabulary"),
                              (lambda o: o["turns"].append(5), "turns"), (lambda o: o.update(turn_begin=-1), "turns"),
                              (lambda o: o.update(judgeq_conversation=2), "is no conversation"),
                              (lambda o: o["messages"][0].update(role="system"), "message"),
                              (lambda o: o.update(document="x", turn_begin=0), "turns"),
                              (lambda o: o.clear(), "is no conversation")):
            with open(file + ".json", encoding="utf-8") as stream:
                said = json.load(stream)
            damage(said)
            damaged = self.path("damaged")
            shutil.copy(file, damaged)
            with open(damaged + ".json", "w", encoding="utf-8") as stream:
                json.dump(said, stream)
            answers, told = self.answers(f"/load {damaged}\nthe room\n", status=1)
            self.assertIn(words, told)
            self.assertEqual(len(answers), 1)
        os.remove(damaged + ".json")
        self.assertIn("PATH and PATH.json", self.pipe(f"/load {damaged}\n", status=1)[1])
        self.pipe(f"/load {file}\n", model=self.endless, status=1)  # another model

    def test_help_and_unknown_ones(self):
        _, said = self.pipe("/help\n")
        listed = re.findall(r"^  (/\w+)", said, re.MULTILINE)
        self.assertEqual(listed, ["/budget", "/policy", "/kept", "/read", "/save", "/load", "/undo", "/reset", "/help", "/quit"])
        described = subprocess.run([JUDGEQ, "chat", "--help"], capture_output=True, check=True, text=True).stdout
        for name in listed:
            self.assertIn(name, described)
        for typed, near in (("/udno", "/undo"), ("/RESET", "/reset"), ("/rea x", "/read")):
            self.assertIn(f"did you mean {near}?", self.pipe(typed + "\n", status=2)[1])
        self.assertIn("lets it begin with /", self.pipe("/etc/passwd\n", status=2)[1])
        self.assertIn("takes nothing", self.pipe("/undo 3\n", status=2)[1])
        self.assertEqual(len(self.answers("the room\n/quit\nagain\n")[0]), 1)


class Terminal(Conversation):
    def test_a_conversation(self):
        person = self.person("-n", "4")
        person.wait("/help lists the commands")
        person.say("the room")
        person.type("a \\\n")
        person.wait(r"\| ")
        person.keys("string\n")
        person.wait(STATUS)
        person.say("/kept", "string\n")
        person.type("\x04")
        self.assertEqual(person.end(), 0)

    def test_history(self):
        state = self.path("state-of-history")
        for first in (True, False):
            person = self.person("-n", "1", env={"XDG_STATE_HOME": state})
            if first:
                person.say("the r\u00f6om")
                person.say("/budget", "policy full[^\n]*\n")
                person.say('"""one\ntwo"""')
            else:
                person.type("\x1b[A\x1b[A\x1b[A again\n")
                self.assertIn("the r\u00f6om again", person.wait(STATUS))
                person.type("\x1b[A\x1b[A\n")  # two lines
                self.assertIn("two", person.wait(STATUS))
            person.type("\x04")
            self.assertEqual(person.end(), 0)
        path = os.path.join(state, "judgeq", "history")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertEqual(len(lines), 6, lines)
        self.assertEqual(len([line for line in lines if "one" in line and "two" in line]), 2)

    def test_history_that_cannot_be(self):
        os.makedirs(self.path("blocked/judgeq"), exist_ok=True)
        path = self.write("blocked/judgeq/history", "something else\n")
        person = self.person("-n", "1", env={"XDG_STATE_HOME": self.path("blocked")})
        person.wait("cannot be read as a history")
        person.say("the room")
        person.type("\x04")
        self.assertEqual(person.end(), 0)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "something else\n")
        person = self.person("-n", "1", env={"XDG_STATE_HOME": self.write("no-folder", "")})
        person.say("the room")
        person.type("\x04")
        self.assertEqual(person.end(), 0)

    def test_interrupted_answer(self):
        person = self.person("--policy", "streaming", "--budget", "32", "--unbounded", "-n", "100000000")
        person.type("the room\n")
        person.wait("the room\n" + BEGUN)
        time.sleep(0.2)
        person.keys("\x03")
        self.assertIn("; stopped", person.wait(STATUS))
        person.type("again\n")
        person.wait("again\n" + BEGUN)
        time.sleep(0.2)
        person.keys("\x03")
        self.assertIn("; stopped", person.wait(STATUS))
        person.type("\x04")
        self.assertEqual(person.end(), 0)

    def test_window_resized_while_it_waits_to_write(self):
        person = self.person("--policy", "streaming", "--budget", "32", "--unbounded", "-n", "6000")
        person.type("the room\n")
        person.wait("the room\n" + BEGUN)
        person.keys("\x13")  # Ctrl-S holds what is shown
        for rows in range(41, 44):
            time.sleep(0.1)
            termios.tcsetwinsize(person.master, (rows, 100))
        person.keys("\x11")
        self.assertIn("cut short", person.wait(STATUS))
        person.type("\x04")
        self.assertEqual(person.end(), 0)

    def test_interrupted_lines(self):
        person = self.person("-n", "1")
        person.type("the room")
        person.wait("room")
        person.keys("\x03")
        person.type("a \\\n")
        person.wait(r"\| ")
        person.keys("\x03")
        person.type("\x03")
        person.wait("Ctrl-C again, or Ctrl-D")
        person.type("on")
        person.wait("on")
        person.keys("\x03")
        person.type("\x03")
        person.wait("Ctrl-C again, or Ctrl-D")
        person.type("\x03")
        self.assertEqual(person.end(), 130)
        self.assertNotIn("tokens seen", person.shown)

    def test_asked_to_end(self):
        person = self.person("-n", "1")
        person.wait("> ")
        person.process.send_signal(signal.SIGTERM)
        self.assertEqual(person.end(), 143)

    def test_nothing_steers_the_terminal(self):
        person = self.person("-n", "40", model=self.model)
        said = person.say("the room")
        person.say("/kept", "assistant\n[^>]*\n")
        person.type("\x04")
        self.assertEqual(person.end(), 0)
        self.assertIn("\\x", said)
        answer = said.split("\n", 1)[1]
        answer = re.sub(r"\r\x1b\[K", "", answer)  # the bar
        self.assertEqual([c for c in answer if ord(c) < 32 and c not in "\n\t"], [])

    def test_run_names_it(self):
        master, terminal = os.openpty()
        done = subprocess.run([JUDGEQ, "run", "-m", self.model], stdin=terminal, capture_output=True, timeout=60)
        os.close(terminal)
        os.close(master)
        self.assertEqual(done.returncode, 2)
        self.assertIn("judgeq chat", done.stderr.decode())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
