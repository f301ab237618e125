"""The server's page in Chromium, with a tiny model that writes noise: what it shows against what the API says.
test_serve_page.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import html.parser
import json
import os
import re
import subprocess
import sys
import unittest

from browser import MISSING, SKIPPED, Browser
from page_elements import Elements
from serving import Server, Serving, wait_until

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
CHAT = "/v1/chat/completions"
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> \u202e &amp; {{x}}"
DOCUMENT = "the room in the rain is on a string again\nand the heron sings to the iron ring\n" * 3
ENDLESS = 1000000000  # tokens


def user(text):
    return {"role": "user", "content": text}


class OnePage(Browser, Serving):
    """A page of a server, and what its user does."""
    ARGUMENTS = ("--policy", "streaming", "--budget", "16", "--unbounded", "--ping", "0.05")
    # As fast as a real model, once 512 rows are held: it chooses again after every token.
    SLOW = ("--policy", "snapkv", "--budget", "512", "--slack", "1", "--unbounded", "--ping", "0.05")

    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()
        cls.make_model(MAKE_FIXTURE, cls.KIND, cls.SPEC)
        cls.prepare()
        cls.start()
        cls.ORIGIN = cls.server.url
        cls.start_browser()

    @classmethod
    def prepare(cls):
        subprocess.run([MAKE_FIXTURE, "judge", cls.model, cls.path("model.judge.gguf")], check=True)

    def setUp(self):
        super().setUp()
        self.asked = []  # bodies of requests for answers

    def open(self, context=None, **options):
        page = self.watch((context or self.context(**options)).new_page())
        page.set_default_timeout(20000)
        page.on("request", lambda request: request.url.endswith(CHAT) and self.asked.append(request.post_data_json))
        page.goto(self.server.url + "/")
        page.locator("#policy option").nth(1).wait_for(state="attached")
        return page

    def say(self, page, text, longest=8, wait=True):
        page.fill("#longest", str(longest))
        page.fill("#text", text)
        page.press("#text", "Enter")
        if wait:
            page.locator("#stop").wait_for(state="hidden")

    @staticmethod
    def turns(page):
        return page.locator("article").evaluate_all("""all => all.map(
            article => [article.className, article.querySelector(":scope > .text").textContent])""")

    def wait_for_text(self, page, least=1):
        """Until an answer that goes on has so many characters."""
        text = page.locator("article.answer > .text").last
        wait_until(lambda: len(text.text_content()) >= least, lambda: f"the answer is {text.text_content()!r}")

    def answer(self, messages, n=8, **method):
        """What the API says to the same."""
        return self.server.ask(CHAT, {"messages": messages, "max_tokens": n, "judgeq": {"kept": True, **method}}).json

    def idle(self):
        return all(slot["state"] == "idle" for slot in self.server.ask("/slots").json)


def data_transfer(page, name, content, kind="text/plain"):
    """What a drop or a paste brings: a file, or, without a name, a text."""
    return page.evaluate_handle("""([name, bytes, kind]) => {
        const transfer = new DataTransfer(), content = new Uint8Array(bytes);
        if (name) transfer.items.add(new File([content], name, {type: kind}));
        else transfer.setData("text/plain", new TextDecoder().decode(content));
        return transfer;
    }""", [name, list(content if isinstance(content, bytes) else content.encode()), kind])


class Conversation(OnePage):
    def test_two_turns(self):
        page = self.open()
        self.say(page, "in the rain")
        first = self.answer([user("in the rain")])
        said = first["choices"][0]["message"]["content"]
        self.assertEqual(self.turns(page), [["user", "in the rain"], ["answer", said]])
        self.assertIn("cut off", page.locator("article.answer .note").text_content())
        self.say(page, "and\nthe string")
        messages = [user("in the rain"), {"role": "assistant", "content": said}, user("and\nthe string")]
        self.assertEqual(self.asked[-1]["messages"], messages)
        second = self.answer(messages)
        self.assertEqual(self.turns(page)[2:], [["user", "and\nthe string"], ["answer", second["choices"][0]["message"]["content"]]])
        page.click("#new")
        self.assertEqual(self.turns(page), [])
        self.assertTrue(page.locator("#welcome").is_visible())
        self.say(page, "in the rain")
        self.assertEqual(self.asked[-1]["messages"], [user("in the rain")])

    def test_figures(self):
        page = self.open()
        self.assertFalse(page.locator("#figures").is_visible())
        self.say(page, "in the rain " * 20)
        answer = self.answer([user("in the rain " * 20)])
        own, kib = answer["judgeq"], lambda n: f"{n / 1024 + 1e-9:.{2 if n < 10240 else 1 if n < 102400 else 0}f} KiB"
        share = round(100 * own["kv_bytes"] / own["kv_bytes_full"])
        self.assertEqual(page.locator("#held").text_content(), f"{kib(own['kv_bytes'])} ({share} %)")
        self.assertEqual(page.locator("#full").text_content(), kib(own["kv_bytes_full"]))
        self.assertRegex(page.locator("#peak").text_content(), r"^\d+(\.\d+)? KiB$")
        self.assertRegex(page.locator("#first").text_content(), r"^\d+\.\d\d s$")
        self.assertRegex(page.locator("#rate").text_content(), r"^[\d.]+$")
        read, known = (int(page.locator(name).text_content().replace(",", "")) for name in ("#read", "#known"))
        self.assertEqual(read + known, answer["usage"]["prompt_tokens"])
        width = page.locator("#bar-held").evaluate("held => held.offsetWidth / held.parentElement.clientWidth")
        most = max(own["kv_bytes_full"], own["kv_bytes_peak"])
        self.assertAlmostEqual(width, own["kv_bytes"] / most, delta=0.02)

    def test_policy_and_budget(self):
        page = self.open()
        names = [preset["name"] for preset in json.loads(subprocess.run([JUDGEQ, "policies", "--json"], capture_output=True).stdout)]
        self.assertEqual(page.locator("#policy option").evaluate_all("all => all.map(one => one.value)"), ["", *names])
        self.say(page, "in the rain")
        self.assertEqual(self.asked[-1]["judgeq"], {"kept": True})
        page.select_option("#policy", "snapkv")
        page.fill("#budget", "40")
        self.say(page, "and the string")
        self.assertEqual(self.asked[-1]["judgeq"], {"kept": True, "policy": "snapkv", "budget": "40"})
        self.assertEqual(len(self.turns(page)), 4)
        page.select_option("#policy", "full")
        self.assertTrue(page.locator("#budget").is_disabled())

    def test_a_reload_begins_anew(self):
        page = self.open()
        self.say(page, "in the rain")
        page.reload()
        self.say(page, "again")
        self.assertEqual(self.asked[-1]["messages"], [user("again")])

    def test_code_and_characters(self):
        page = self.open()
        text = "before\n```c\nint main;\n```\nafter\n```\nopen"
        parts = page.evaluate("formatted(" + json.dumps(text) + ").map(part => part.nodeName ? [part.nodeName, part.textContent] : part)")
        self.assertEqual(parts, ["before\n", ["PRE", "int main;\n"], "after\n", ["PRE", "open"], ""])

    def test_a_waiting_stream_says_why(self):
        page = self.open()
        says = lambda comment: page.evaluate("comment => { showProgress(comment); return byId('status').textContent; }", comment)
        self.assertEqual(says("waiting, 3 before it"), "Waiting: 3 requests are before this one.")
        self.assertEqual(says("waiting, 1 before it"), "Waiting: 1 request is before this one.")
        self.assertEqual(says("waiting, 0 before it"), "Waiting until enough memory is free.")
        self.assertEqual(says("read 512 of 8000 tokens"), "Reading: 512 of 8,000 tokens.")
        self.assertEqual(says("ping"), "Reading: 512 of 8,000 tokens.")


class Documents(OnePage):
    def check(self, page, name, text=DOCUMENT):
        """It is there, and goes into the first message."""
        n = len(self.server.ask("/tokenize", {"content": text, "parse_special": False}).json["tokens"])
        page.locator("#document-says", has_text=f"{name}, {n:,} tokens").wait_for()
        self.say(page, "and the heron?")
        self.assertEqual(self.asked[-1]["messages"], [user(text + "\n\nand the heron?")])
        self.assertEqual(self.turns(page)[0], ["user", "and the heron?"])
        self.assertIn(f"{name}, {n:,} tokens", page.locator("article.user").text_content())
        self.assertFalse(page.locator("#document").is_visible())

    def test_a_dropped_file(self):
        page = self.open()
        transfer = data_transfer(page, "report.txt", DOCUMENT)
        page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
        self.assertEqual(page.locator("body.dropping").count(), 1)
        page.dispatch_event("main", "drop", {"dataTransfer": transfer})
        self.assertEqual(page.locator("body.dropping").count(), 0)
        self.check(page, "report.txt")
        page.dispatch_event("main", "drop", {"dataTransfer": transfer})  # the conversation has begun
        self.assertIn("Begin a new conversation", page.locator("#alert").text_content())
        page.click("#new")
        self.assertFalse(page.locator("#alert").is_visible())
        self.assertFalse(page.locator("#document").is_visible())

    def test_a_long_file_is_chosen(self):
        page = self.open()
        text = DOCUMENT * 60
        page.set_input_files("#file", {"name": "long.txt", "mimeType": "text/plain", "buffer": b"\xef\xbb\xbf" + text.encode()})
        self.check(page, "long.txt", text)

    def test_pasted(self):
        page = self.open()
        paste = lambda name, content: page.locator("#text").evaluate(
            "(box, clipboardData) => box.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true}))",
            data_transfer(page, name, content))
        text = DOCUMENT * 12
        paste(None, "short")
        self.assertFalse(page.locator("#document").is_visible())
        paste(None, text)
        self.check(page, "Pasted text", text)
        page.click("#new")
        paste("note.md", DOCUMENT)
        self.check(page, "note.md")

    def test_removed_and_replaced(self):
        page = self.open()
        page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"})
        page.locator("#document").wait_for()
        page.click("#remove")
        self.assertFalse(page.locator("#document").is_visible())
        page.set_input_files("#file", {"name": "b.txt", "mimeType": "text/plain", "buffer": b"b"})
        page.locator("#document").wait_for()
        page.set_input_files("#file", {"name": "c.txt", "mimeType": "text/plain", "buffer": b"in the rain"})
        self.check(page, "c.txt", "in the rain")

    def test_what_is_no_text(self):
        page = self.open()
        for name, content, said in [("a.pdf", b"%PDF\xff\xfe", "cannot be read as text"), ("zeros", b"a\0b", "cannot be read as text"),
                                    ("empty.txt", b" \n", "is empty")]:
            page.set_input_files("#file", {"name": name, "mimeType": "text/plain", "buffer": content})
            page.locator("#alert", has_text=name + " " + said).wait_for()
            self.assertFalse(page.locator("#document").is_visible())


class Stopping(OnePage):
    ARGUMENTS = OnePage.SLOW

    def cancelled(self):
        return self.server.metric("jobs_cancelled_total")

    def test_the_button(self):
        page, before = self.open(), self.cancelled()
        self.say(page, "in the rain", ENDLESS, wait=False)
        self.wait_for_text(page, 20)
        page.click("#stop")
        page.locator("#stop").wait_for(state="hidden")
        wait_until(lambda: self.cancelled() == before + 1 and self.idle(), "no answer was cancelled")
        self.assertEqual(page.locator("article.answer .note").text_content(), "Stopped.")
        said = self.turns(page)[1][1]
        self.assertFalse(page.locator("#alert").is_visible())
        self.say(page, "and")
        self.assertEqual(self.asked[-1]["messages"], [user("in the rain"), {"role": "assistant", "content": said}, user("and")])

    def test_escape_before_the_answer(self):
        """The turn goes back into the box, with its document."""
        page, before = self.open(), self.cancelled()
        page.set_input_files("#file", {"name": "long.txt", "mimeType": "text/plain", "buffer": (DOCUMENT * 4000).encode()})
        page.locator("#document-says", has_text="tokens").wait_for()
        self.say(page, "what?", wait=False)
        page.locator("#status", has_text="Reading").wait_for()
        page.fill("#text", "a draft")
        page.press("#text", "Escape")
        page.locator("#stop").wait_for(state="hidden")
        self.assertEqual(page.input_value("#text"), "what?\na draft")
        self.assertEqual(self.turns(page), [])
        self.assertTrue(page.locator("#document").is_visible())
        wait_until(lambda: self.cancelled() == before + 1 and self.idle(), "no answer was cancelled")

    def test_a_new_conversation_stops_it(self):
        page, before = self.open(), self.cancelled()
        self.say(page, "in the rain", ENDLESS, wait=False)
        self.wait_for_text(page)
        page.click("#new")
        wait_until(lambda: self.cancelled() == before + 1 and self.idle(), "no answer was cancelled")
        self.assertEqual(self.turns(page), [])

    def test_two_tabs(self):
        context = self.context()
        one, two = self.open(context), self.open(context)
        self.say(one, "in the rain", ENDLESS, wait=False)
        self.say(two, "on a string", ENDLESS, wait=False)
        self.wait_for_text(one)
        self.wait_for_text(two)
        one.click("#stop")
        one.locator("#stop").wait_for(state="hidden")
        self.assertTrue(two.locator("#stop").is_visible())
        n = len(self.turns(two)[1][1])
        self.wait_for_text(two, n + 50)
        self.assertEqual([self.turns(page)[0][1] for page in (one, two)], ["in the rain", "on a string"])
        two.close()  # as good as a stop
        wait_until(self.idle, "an answer goes on")
        self.say(one, "and")
        self.assertEqual([message["content"] for message in self.asked[-1]["messages"]][::2], ["in the rain", "and"])


class Errors(OnePage):
    ARGUMENTS = OnePage.SLOW

    def refused(self):
        """Chromium's own lines about requests that failed are no complaint here."""
        self.complaints = [line for line in self.complaints if not line.startswith("Failed to load resource")]

    def test_a_wrong_budget(self):
        page = self.open()
        page.fill("#budget", "512 rows")
        self.say(page, "in the rain")
        said = page.locator("#alert").text_content()
        self.assertIn("judgeq.budget", said)
        self.assertIn("a whole number", said)  # what would do
        self.assertIn("Your message is back", said)
        self.assertEqual((page.input_value("#text"), self.turns(page)), ("in the rain", []))
        page.fill("#budget", "")
        page.press("#text", "Enter")
        page.locator("article.answer .note").wait_for()
        self.assertFalse(page.locator("#alert").is_visible())
        self.refused()

    def test_a_restart(self):
        server = Server(JUDGEQ, self.model, *self.ARGUMENTS)
        self.addCleanup(lambda: server.stop())
        page = self.watch(self.context().new_page())
        self.ORIGIN = server.url
        page.on("request", lambda request: request.url.endswith(CHAT) and self.asked.append(request.post_data_json))
        page.goto(server.url)
        self.say(page, "in the rain")
        server.stop()
        self.say(page, "and")
        page.locator("#alert", has_text="cannot be reached").wait_for()
        self.assertEqual(page.input_value("#text"), "and")
        server = Server(JUDGEQ, self.model, *self.ARGUMENTS, port=server.port)
        page.locator("#alert").wait_for(state="hidden")  # by itself
        page.press("#text", "Enter")
        page.locator("article.answer .note").nth(1).wait_for()
        self.assertEqual([message["content"] for message in self.asked[-1]["messages"]][::2], ["in the rain", "and"])
        self.refused()

    def test_a_server_that_dies_while_it_answers(self):
        server = Server(JUDGEQ, self.model, *self.ARGUMENTS)
        page = self.watch(self.context().new_page())
        self.ORIGIN = server.url
        page.goto(server.url)
        self.say(page, "in the rain", ENDLESS, wait=False)
        self.wait_for_text(page)
        server.process.kill()
        server.stop()
        page.locator("#stop").wait_for(state="hidden")
        self.assertIn("connection to the server broke", page.locator("#alert").text_content())
        self.assertEqual(page.locator("article.answer .note").text_content(), "The answer is not complete.")
        self.complaints = [line for line in self.complaints if "Failed to load resource" not in line]

    def test_what_the_server_says_and_what_to_do(self):
        page = self.open()
        for error, status, words in [
                ({"message": "the prompt has 9 tokens", "code": "context_length_exceeded"}, 400, ["the prompt has 9 tokens", "shorter document"]),
                ({"message": "the request's body is too large"}, 413, ["--body-bytes"]),
                ({"message": "5 jobs are waiting", "code": "queue_full"}, 429, ["5 jobs are waiting", "in a few seconds"]),
                ({"message": HOSTILE}, 500, [HOSTILE, "terminal"]), (None, 502, ["status 502"])]:
            body = json.dumps({"error": error}) if error else "<html>"
            page.route("**" + CHAT, lambda route: route.fulfill(status=status, body=body))
            self.say(page, "in the rain")
            said = page.locator("#alert").text_content()
            for word in words:
                self.assertIn(word, said)
            page.unroute("**" + CHAT)
        for error, word in [({"message": "it has failed", "code": None}, "terminal"),
                            ({"message": "it has stopped", "type": "server_error", "code": "cancelled"}, "in a few seconds")]:
            late = 'data: {"choices": [{"delta": {"content": "so"}}]}\n\ndata: ' + json.dumps({"error": error}) + "\n\n"
            page.route("**" + CHAT, lambda route: route.fulfill(status=200, body=late))
            self.say(page, "in the rain")
            said = page.locator("#alert").text_content()
            self.assertIn(error["message"], said)
            self.assertIn(word, said)
            page.unroute("**" + CHAT)
        self.assertEqual(self.turns(page)[1], ["answer", "so"])
        self.refused()


class Keys(OnePage):
    ARGUMENTS = ("--api-key", "secret", "--api-key", "kl\u00fcssel", "--budget", "64")

    @classmethod
    def prepare(cls):
        pass  # no judge

    def open(self, context):
        page = self.watch(context.new_page())
        page.goto(self.server.url)
        return page

    def test_a_key_is_asked_for(self):
        context = self.context()
        page = self.open(context)
        page.locator("#key-text").wait_for()
        self.assertIn("asks for an API key. Enter it below", page.locator("#alert").text_content())
        page.keyboard.type("wrong")  # it has the focus
        page.keyboard.press("Enter")
        page.locator("#alert", has_text="does not know this API key").wait_for()
        for key in "kl\u00fcssel", "secret":
            page.evaluate("sessionStorage.clear()")
            page.reload()
            page.fill("#key-text", key)
            page.click("#key button")
            page.locator("#key").wait_for(state="hidden")
            self.assertFalse(page.locator("#alert").is_visible())
            self.say(page, "in the rain")
            self.assertEqual(len(self.turns(page)), 2)
        page.reload()
        page.locator("#policy option").nth(1).wait_for(state="attached")
        self.assertFalse(page.locator("#key").is_visible())
        other = self.open(context)  # another tab has none
        other.locator("#key-text").wait_for()
        self.assertNotIn("secret", str(context.storage_state()))  # neither cookies nor what tabs share
        self.complaints = [line for line in self.complaints if "401" not in line]

    def test_the_page_itself_is_open(self):
        reply = self.server.ask("/")
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertEqual(self.server.ask("/", method="HEAD").status, 200)
        policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual(policy["connect-src"], "'self'")
        for name in "style-src", "script-src":
            self.assertRegex(policy[name], r"^'sha256-[A-Za-z0-9+/]{43}='$")
        page = Elements(reply.body.decode())
        self.assertEqual([address for address in page.addresses if not address.startswith("data:")], [])
        self.assertEqual(page.tags.count("script"), 1)

    def test_policies_without_a_judge(self):
        presets = json.loads(subprocess.run([JUDGEQ, "policies", "--json"], capture_output=True, check=True).stdout)
        own = self.server.ask("/props", Authorization="Bearer secret").json["judgeq"]["policies"]
        self.assertEqual(own, [{"name": preset["name"], "summary": preset["summary"]} for preset in presets if preset["soft_tokens"] == 0])
        self.assertLess(len(own), len(presets))

    def test_well_formed(self):
        """Every element ends where it should, and every id is there once and is used."""
        open_tags, ids, void = [], [], {"meta", "link", "input", "br"}

        class Parser(html.parser.HTMLParser):
            def handle_starttag(self, tag, attributes):
                ids.extend(value for name, value in attributes if name == "id")
                if tag not in void:
                    open_tags.append(tag)

            def handle_endtag(self, tag):
                assert open_tags.pop() == tag, tag

        text = self.server.ask("/").body.decode()
        Parser().feed(text)
        self.assertEqual(open_tags, [])
        self.assertEqual(len(ids), len(set(ids)))
        for used in re.findall(r'byId\("([\w-]+)"\)|(?:for|aria-describedby|aria-labelledby)="([\w-]+)"', text):
            self.assertIn(used[0] or used[1], ids)


class Hostile(OnePage):
    def test_texts_stay_texts(self):
        page = self.open()
        chunks = [{"choices": [{"delta": {"content": HOSTILE, "reasoning_content": HOSTILE}}]},
                  {"choices": [{"delta": {}, "finish_reason": "stop"}], "judgeq": {
                      **self.answer([user("a")])["judgeq"], "kept": {"pieces": [HOSTILE, "", HOSTILE], "share": [0, 0.5, 1]}}}]
        stream = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        page.route("**" + CHAT, lambda route: route.fulfill(status=200, body=stream))
        page.set_input_files("#file", {"name": HOSTILE.replace("/", ""), "mimeType": "text/plain", "buffer": HOSTILE.encode()})
        page.locator("#document-says", has_text="tokens").wait_for()
        self.say(page, HOSTILE)
        self.assertEqual(self.turns(page), [["user", HOSTILE], ["answer", HOSTILE]])
        page.check("input[value=kept]")
        self.assertEqual(page.locator("#tokens").text_content(), HOSTILE + "\u25c7" + HOSTILE)
        page.locator("#tokens span").first.click()
        self.assertIn(HOSTILE, page.locator("#token").text_content())
        self.assertEqual(page.title(), "judgeq")
        self.assertEqual((page.locator("img").count(), page.locator("script").count()), (0, 1))

    def test_a_server_s_texts_too(self):
        page = self.watch(self.context().new_page())
        props = json.loads(json.dumps(self.server.ask("/props").json).replace("streaming", json.dumps(HOSTILE)[1:-1]))
        props["model_alias"] = HOSTILE
        page.route("**/props", lambda route: route.fulfill(status=200, body=json.dumps(props)))
        page.goto(self.server.url)
        page.locator("#about", has_text=HOSTILE).wait_for()
        self.assertEqual((page.locator("img").count(), page.locator("script").count()), (0, 1))

    def test_the_policy_holds(self):
        """Were a text taken for HTML, nothing of it would run."""
        page = self.open()
        self.assertIn("TrustedHTML", page.evaluate("try { document.body.innerHTML = '<b>x</b>'; 'done' } catch (error) { error.message }"))
        page.evaluate("""() => {
            const script = document.createElement("script");
            script.append("document.title = 'taken'");
            try { document.body.append(script); } catch { }
        }""")
        self.assertEqual(page.title(), "judgeq")
        self.complaints = [line for line in self.complaints if "Content Security Policy" not in line and "Trusted" not in line]


class Kept(OnePage):
    ARGUMENTS = OnePage.SLOW

    def test_the_view(self):
        page = self.open()
        page.check("input[value=kept]")
        self.assertIn("Nothing was read yet", page.locator("#kept-says").text_content())
        page.select_option("#policy", "judge")
        page.fill("#budget", "24")
        self.say(page, DOCUMENT + "\u00e4 \U0001f680")
        self.assertTrue(page.locator("#talk").is_visible())  # an answer is shown where it is written
        page.check("input[value=kept]")
        kept = self.answer([user(DOCUMENT + "\u00e4 \U0001f680")], policy="judge", budget="24")["judgeq"]["kept"]
        shown = page.locator("#tokens span").evaluate_all("""all => all.map(
            span => [span.textContent, span.title, span.getAttribute("aria-label"), getComputedStyle(span).backgroundColor])""")
        self.assertEqual([text for text, *_ in shown], [piece or "\u25c7" for piece in kept["pieces"]])
        self.assertIn("\U0001f680", [text for text, *_ in shown])
        self.assertGreater(len(set(kept["share"])), 2)
        colours = {}
        for (text, title, label, colour), share in zip(shown, kept["share"]):
            self.assertEqual(title, label)
            held = {0: "no longer held", 1: "held by all layers and KV heads"}.get(share, f"held by {100 * share:.0f} % of the layers and KV heads")
            self.assertTrue(title.endswith(", " + held), title)
            colours.setdefault(share, set()).add(colour)
        self.assertTrue(all(len(found) == 1 for found in colours.values()))
        light = [sum(map(int, re.findall(r"\d+", colours[share].copy().pop())[:3])) for share in sorted(colours) if share > 0]
        self.assertEqual(light, sorted(light, reverse=True))  # the more, the darker
        self.assertEqual(colours[0], {"rgba(0, 0, 0, 0)"})
        mean = sum(kept["share"]) / len(kept["share"])
        said = page.locator("#kept-says").text_content()
        self.assertIn(f"{len(kept['share'])} tokens", said)
        self.assertIn(f"{100 * mean:.0f} %", said)
        self.assertEqual(page.locator("#legend .chip").all_text_contents(), ["none", "1 %", "10 %", "25 %", "50 %", "75 %", "100 %"])
        page.click("#new")
        self.assertEqual(page.locator("#tokens span").count(), 0)

    def test_tokens_by_key(self):
        page = self.open()
        self.say(page, "in the rain")
        page.check("input[value=kept]")
        page.locator("#tokens").focus()
        n = page.locator("#tokens span").count()
        for key, at in ("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 0), ("End", n - 1), ("ArrowRight", n - 1), ("Home", 0):
            page.keyboard.press(key)
            self.assertEqual(page.locator("#tokens").get_attribute("aria-activedescendant"), f"token-{at}")
            self.assertEqual(page.locator("#tokens [aria-selected=true]").count(), 1)
            self.assertTrue(page.locator("#token").text_content().startswith(f"Token {at + 1} of {n}: "))

    def test_after_a_stop(self):
        page = self.open()
        self.say(page, "in the rain")
        self.say(page, "and", ENDLESS, wait=False)
        self.wait_for_text(page)
        page.keyboard.press("Escape")
        page.locator("#stop").wait_for(state="hidden")
        page.check("input[value=kept]")
        self.assertIn("before the answer that was stopped", page.locator("#kept-says").text_content())


class Access(OnePage):
    ARGUMENTS = OnePage.SLOW

    def focused(self, page):
        return page.evaluate("""() => {
            const at = document.activeElement, style = getComputedStyle(at);
            return [at.id || at.value || at.nodeName, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
        }""")

    def test_by_keyboard_alone(self):
        page = self.open()
        self.assertEqual(self.focused(page)[0], "text")
        page.fill("#longest", "8")
        page.locator("#text").focus()
        page.keyboard.type("in the")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("rain")
        page.keyboard.press("Enter")
        page.locator("article.answer .note").wait_for()
        self.assertEqual(self.turns(page)[0], ["user", "in the\nrain"])
        self.assertEqual(self.focused(page), ["text", True])
        page.keyboard.press("Enter")  # nothing to send
        self.assertEqual(len(self.turns(page)), 2)
        page.keyboard.press("Tab")
        order = [self.focused(page)]
        for _ in range(6):
            page.keyboard.press("Shift+Tab")
            order.append(self.focused(page))
        self.assertEqual(order, [[name, True] for name in ("send", "text", "talk", "longest", "budget", "policy", "new")])
        for _ in range(4):
            page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        self.assertTrue(page.locator("#kept").is_visible())
        page.keyboard.press("Tab")
        self.assertEqual(self.focused(page), ["tokens", True])
        page.keyboard.press("Tab")
        page.keyboard.type("more")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")  # the button
        page.locator("article.answer .note").nth(1).wait_for()

    def test_the_stop_button_by_key(self):
        page = self.open()
        self.say(page, "in the rain", ENDLESS, wait=False)
        self.wait_for_text(page)
        page.keyboard.press("Tab")
        self.assertEqual(self.focused(page), ["stop", True])
        page.keyboard.press("Enter")
        page.locator("#stop").wait_for(state="hidden")
        self.assertEqual(self.focused(page)[0], "text")

    def test_a_screen_reader_hears_an_answer_once(self):
        page = self.open()
        page.evaluate("""() => {
            window.heard = [];
            for (const region of document.querySelectorAll("[role=status], [role=alert]")) {
                new MutationObserver(() => heard.push(region.textContent)).observe(region, {childList: true, characterData: true, subtree: true});
            }
        }""")
        self.assertEqual(page.locator("[role=log]").get_attribute("aria-live"), "off")
        self.assertEqual(page.locator("[aria-live=assertive]").count(), 0)
        self.say(page, "in the rain", 200)
        heard = [text for text in page.evaluate("heard") if text]
        said = self.turns(page)[1][1]
        self.assertEqual([text for text in heard if said in text], ["Answer: " + said])
        self.assertLess(len(heard), 8)
        roles = page.locator("body").aria_snapshot()
        for role in "main", 'log "Conversation"', 'textbox "Message"', 'button "Send"', 'combobox "Policy"', 'textbox "Budget"', 'heading "You"':
            self.assertIn(role, roles)

    def test_fits_every_window(self):
        for width in 320, 360, 768, 769, 1280:
            page = self.open(viewport={"width": width, "height": 740})
            self.assertTrue(self.fits(page), width)
            page.evaluate("tell('x'.repeat(400)); byId('key').hidden = false; byId('panel').open = true;")
            page.set_input_files("#file", {"name": "n" * 200 + ".txt", "mimeType": "text/plain", "buffer": b"a"})
            page.locator("#document").wait_for()
            self.assertTrue(self.fits(page), width)
            self.say(page, "w" * 300)
            page.evaluate("byId('talk').append(...formatted('```\\n' + 'y'.repeat(500) + '\\n```'))")
            self.assertTrue(self.fits(page), width)
            page.check("input[value=kept]")
            self.assertTrue(self.fits(page), width)
            page.locator("#send").click(trial=True)  # not covered
            page.context.close()

    def test_both_schemes_can_be_read(self):
        """The contrast of every text is at least 4.5, as WCAG's AA asks for."""
        seen = set()
        for scheme in "light", "dark":
            page = self.open(color_scheme=scheme)
            page.select_option("#policy", "judge")
            page.fill("#budget", "24")
            self.say(page, DOCUMENT)
            page.evaluate("tell('An error.')")
            for view in "talk", "kept":
                page.check(f"input[value={view}]")
                for text, ratio in page.evaluate(CONTRASTS):
                    self.assertGreaterEqual(ratio, 4.5, (scheme, view, text))
            seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(len(seen), 2)


# Of every visible text: its contrast with what is behind it.
CONTRASTS = """() => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = colour => { const [r, g, b] = numbers(colour).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                              return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const behind = at => { while (at && (numbers(getComputedStyle(at).backgroundColor)[3] ?? 1) === 0) at = at.parentElement;
                           return getComputedStyle(at ?? document.body).backgroundColor; };
    const found = [];
    for (const at of document.querySelectorAll("body *")) {
        const own = [...at.childNodes].filter(node => node.nodeType === 3).map(node => node.data).join("").trim();
        if (!own || at.closest("[hidden], script, option, [aria-disabled=true]") || !at.getClientRects().length) continue;
        const [a, b] = [light(getComputedStyle(at).color), light(behind(at))].sort((x, y) => y - x);
        found.push([own.slice(0, 30), (a + 0.05) / (b + 0.05)]);
    }
    return found;
}"""


if __name__ == "__main__":
    if MISSING:
        print("skipped: no Playwright or no chromium: tools/deps.sh --test")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
