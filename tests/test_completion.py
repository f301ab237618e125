"""What bash offers after Tab, by the script of `judgeq completion bash`; zsh reads its own.
test_completion.py JUDGEQ [unittest arguments]"""

import os
import re
import shutil
import subprocess
import sys
import unittest

from in_folder import InFolder

JUDGEQ = os.path.abspath(sys.argv[1])


def output(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", **more).stdout


def words_of(line):
    """As readline breaks a line: at spaces, and : and = are words of their own."""
    return [word for part in line.split(" ") for word in (re.findall(r"[:=]+|[^:=]+", part) or [""])]


class Completion(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.script = os.path.join(cls.folder, "judgeq.bash")
        with open(cls.script, "w", encoding="utf-8") as file:
            file.write(output(JUDGEQ, "completion", "bash"))
        for name in ("model.gguf", "text.txt", "two words.gguf"):
            with open(os.path.join(cls.folder, name), "w", encoding="utf-8"):
                pass
        os.mkdir(os.path.join(cls.folder, "models"))

    def offers(self, line):
        words = words_of(line)
        program = (f"source {self.script}; COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_LINE=$LINE "
                   "COMP_POINT=${#LINE}; _judgeq; printf '%s\\n' \"${COMPREPLY[@]}\"")
        said = output("bash", "-c", program, "bash", *words, env={**os.environ, "LINE": line}, cwd=self.folder)
        return [offer for offer in said.split("\n") if offer]

    def test_cases(self):
        policies = re.findall(r"^([\w+-]+)  ", output(JUDGEQ, "policies"), re.MULTILINE)
        self.assertIn("judge-laq", policies)
        files = ["model.gguf", "two words.gguf", "models"]
        for line, expected in [
                ("judgeq r", ["run", "report", "rpc-server"]),
                ("judgeq --v", ["--version"]),
                ("judgeq run --pol", ["--policy"]),
                ("judgeq run --policy ", policies),
                ("judgeq run --policy=judge-", ["judge-paper", "judge-later", "judge-laq"]),
                ("judgeq run --policy ju", ["judge-paper", "judge", "judge-later", "judge-laq"]),
                ("judgeq run --policy=", policies),
                ("judgeq run -p text --kv-type q", ["q8_0", "q4_0"]),
                ("judgeq run --kv-type=f", ["f16", "f32"]),
                # readline keeps what stands before the colon
                ("judgeq run --smooth max:", ["7"]),
                ("judgeq run --allocate=a", ["ada:0", "ada:0.2"]),
                ("judgeq run -m ", files),
                ("judgeq run --model=mod", ["model.gguf", "models"]),
                ("judgeq run -f t", ["text.txt", "two words.gguf"]),
                ("judgeq run -n ", []),
                ("judgeq run --stop ", []),
                ("judgeq train --loss ", ["kl", "mse"]),
                ("judgeq eval multi", ["multi_key", "multi_value", "multi_query", "multi_turn"]),
                ("judgeq eval own -o ", ["models"]),
                ("judgeq eval own --policies snapkv,judge-", ["snapkv,judge-paper", "snapkv,judge-later", "snapkv,judge-laq"]),
                ("judgeq eval own --policies 'snapkv;to", ["snapkv;tova"]),
                ("judgeq bench --kv-types f16,q", ["f16,q8_0", "f16,q4_0"]),
                ("judgeq inspect mo", ["model.gguf", "models"]),
                ("judgeq inspect --k", ["--kv-type", "--kept", "--keep"]),
                ("judgeq judge ", ["import", "export"]),
                ("judgeq judge import t", ["text.txt", "two words.gguf"]),
                ("judgeq report ", ["models"]),
                ("judgeq completion ", ["bash", "zsh"]),
                ("judgeq nothing ", [])]:
            with self.subTest(line):
                self.assertEqual(sorted(self.offers(line)), sorted(expected))

    def test_every_command_and_option_of_the_help(self):
        listed = output(JUDGEQ, "--help").split("Commands\n")[1].split("\n\n")[0]
        commands = re.findall(r"^  ([\w-]+)", listed, re.MULTILINE)
        self.assertEqual(self.offers("judgeq "), commands + ["--help", "--version"])
        zsh = output(JUDGEQ, "completion", "zsh")
        for command in commands:
            with self.subTest(command):
                text = output(JUDGEQ, command, "--help")
                if command == "inspect":
                    text += output(JUDGEQ, command, "--kept", "--help")
                terms = re.findall(r"^ +(-.*?)(?:  |$)", text, re.MULTILINE)
                named = {name for term in terms for name in re.findall(r"(?<![\w-])--[a-z][\w-]*", term)}
                named.add("--verbose")  # of every command, as judgeq --help says
                offered = set(self.offers(f"judgeq {command} --"))
                self.assertEqual(named - offered, set())
                self.assertEqual(offered - named, set())
                part = zsh.split(f"\n        {command})\n")[1].split(";;")[0]
                self.assertEqual({name for name in named if name not in part}, set())

    def test_which_shell(self):
        for arguments in ([], ["fish"], ["bash", "zsh"]):
            done = subprocess.run([JUDGEQ, "completion", *arguments], capture_output=True, encoding="utf-8", check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("bash or zsh", done.stderr)

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh(self):
        path = os.path.join(self.folder, "_judgeq")
        with open(path, "w", encoding="utf-8") as file:
            file.write(output(JUDGEQ, "completion", "zsh"))
        subprocess.run(["zsh", "-n", path], check=True)
        # compinit takes it, with its first line, for judgeq's
        said = output("zsh", "-fc", f"fpath=({self.folder} $fpath); autoload -Uz compinit; compinit -D -u; "
                      "print ${_comps[judgeq]}")
        self.assertEqual(said.strip(), "_judgeq")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
