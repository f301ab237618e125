"""Tests that share a folder, which is made before the first and removed after the last."""

import os
import shutil
import subprocess
import tempfile
import unittest


class InFolder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="judgeq-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write(cls, name, text):
        """The path of the file that it writes."""
        with open(cls.path(name), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return cls.path(name)

    @classmethod
    def make_model(cls, make_fixture, kind, spec):
        """cls.model; kind: "endless", which never ends a response by itself, or "model"."""
        cls.model = cls.path("model.gguf")
        subprocess.run([make_fixture, kind, spec, cls.model], check=True)

    @classmethod
    def make_long_model(cls, make_fixture, spec="long"):
        """cls.model, endless and for long prompts, and cls.judge where commands find it."""
        cls.make_model(make_fixture, "endless", spec)
        cls.judge = cls.path("model.judge.gguf")
        subprocess.run([make_fixture, "judge", cls.model, cls.judge], check=True)

    @staticmethod
    def read(path):
        with open(path, "rb") as file:
            return file.read()
