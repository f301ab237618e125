// The page at /: conversations with the server that it comes from. docs/server.md describes it.

const messages = [];       // of the conversation, as the API has them
let attached = null;       // {name, text, says}: the document that the first message begins with
let running = null;        // the AbortController of the answer under way
let ended = Promise.resolve(); // when that answer has ended
let server = null;         // what /props says; null: it could not be asked
let again = 0;             // the timer of asking once more

// ---- the server

// What the server, or the way to it, refused. status: HTTP's; 0: it was not reached.
class Failure extends Error {
    constructor(message, status = 0) {
        super(message);
        this.status = status;
    }
}

const UNREACHED = "The server cannot be reached. Is judgeq serve running? This page tries again by itself.";
// What helps, where the server's own message does not say it.
const ADVICE = {
    context_length_exceeded: "Begin a new conversation, or choose a shorter document.",
    413: "Choose a shorter document, or start the server with a larger --body-bytes.",
    429: "Send it again in a few seconds.",
    500: "What the server writes in its terminal may say more.",
    503: "Send it again in a few seconds.",
};
// The status that an error would have had, for those within a stream, which has begun with 200.
const STATUS = {cancelled: 503, stopping: 503, rate_limit_error: 429, invalid_request_error: 400, exceed_context_size_error: 400};
const statusOf = error => STATUS[error.code] ?? STATUS[error.type] ?? 500;

function failureOf(error, status) {
    if (status === 401) {
        return new Failure(apiKey() ? "The server does not know this API key. Enter another one below."
            : "The server asks for an API key. Enter it below; it is kept in this tab only.", status);
    }
    const message = error?.message ?? "status " + status;
    const advice = ADVICE[error?.code] ?? ADVICE[status] ?? "";
    return new Failure(("The server says: " + message + ". " + advice).trim(), status);
}

const apiKey = () => sessionStorage.getItem("judgeq-key") ?? "";

// A header has bytes: those of the key's UTF-8.
function headers() {
    const bytes = new TextEncoder().encode(apiKey());
    return {"Content-Type": "application/json", ...(apiKey() && {Authorization: "Bearer " + String.fromCharCode(...bytes)})};
}

async function request(path, body, signal) {
    let reply;
    try {
        reply = await fetch(path, {method: body ? "POST" : "GET", headers: headers(), body: body && JSON.stringify(body), signal});
    } catch (error) {
        throw error.name === "AbortError" ? error : new Failure(UNREACHED);
    }
    if (reply.ok) return reply;
    const said = await reply.json().catch(() => null);
    throw failureOf(said?.error, reply.status);
}

async function* lines(stream) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const {done, value} = await reader.read().catch(error => {
            throw error.name === "AbortError" ? error : new Failure("The connection to the server broke. Send again to go on.");
        });
        if (done) return;
        const parts = (rest + value).split("\n");
        rest = parts.pop();
        yield* parts;
    }
}

// ---- what is told

function tell(text) {
    byId("alert").hidden = text === "";
    if (byId("alert").textContent !== text) byId("alert").textContent = text;
}

// Of a failure: what it is, a field for a key, and the way back.
function tellFailure(failure, more = "") {
    tell((failure.message + " " + more).trim());
    byId("key").hidden = failure.status !== 401;
    if (failure.status === 401) byId("key-text").focus();
    if (!(failure instanceof Failure) || failure.status !== 0) return;
    server = null;
    clearTimeout(again);
    again = setTimeout(connect, 2000);
}

function showStatus(text) {
    if (byId("status").textContent !== text) byId("status").textContent = text;
}

// A comment of a stream: nothing has come yet, and why.
function showProgress(comment) {
    const waiting = comment.match(/^waiting, (\d+)/), reading = comment.match(/^read (\d+) of (\d+)/);
    if (waiting) {
        showStatus(Number(waiting[1]) === 0 ? "Waiting until enough memory is free."
            : "Waiting: " + count(Number(waiting[1]), "request is", "requests are") + " before this one.");
    }
    if (reading) showStatus("Reading: " + Number(reading[1]).toLocaleString("en") + " of " + count(Number(reading[2]), "token", "tokens") + ".");
}

function showMemory(own) {
    byId("no-figures").hidden = true;
    byId("figures").hidden = false;
    const most = Math.max(own.kv_bytes_full, own.kv_bytes_peak, 1);
    byId("held").textContent = bytes(own.kv_bytes) + " (" + percent(own.kv_bytes / Math.max(own.kv_bytes_full, 1)) + ")";
    byId("full").textContent = bytes(own.kv_bytes_full);
    byId("peak").textContent = bytes(own.kv_bytes_peak);
    byId("bar-held").style.width = percent(own.kv_bytes / most, 1).replace(" ", "");
    byId("bar-peak").style.width = percent(own.kv_bytes_peak / most, 1).replace(" ", "");
    byId("bar").setAttribute("aria-label", bytes(own.kv_bytes) + " held, of " + bytes(own.kv_bytes_full) + " of the full cache");
    byId("brief").textContent = bytes(own.kv_bytes) + " held";
}

const perSecond = (n, seconds) => seconds > 0 ? (n / seconds).toFixed(n / seconds < 10 ? 1 : 0) : "";

function showSpeed(own, usage) {
    const n = usage.completion_tokens, known = usage.prompt_tokens_details?.cached_tokens ?? 0;
    byId("first").textContent = (own.waited_s + own.read_s).toFixed(2) + " s";
    byId("rate").textContent = n > 1 ? perSecond(n - 1, own.answer_s) : "one token";
    byId("read").textContent = (usage.prompt_tokens - known).toLocaleString("en");
    byId("known").textContent = known.toLocaleString("en");
}

// ---- the method

function showPolicy() {
    const name = byId("policy").value || server.judgeq.policy;
    const known = server.judgeq.policies.find(policy => policy.name === name);
    byId("policy-says").textContent = known ? known.name + ": " + known.summary + "." : "";
    byId("budget").disabled = name === "full";
}

function showServer() {
    const own = server.judgeq, n_ctx = server.default_generation_settings.n_ctx, before = byId("policy").value;
    const choices = own.policies.map(policy => element("option", {value: policy.name}, policy.name));
    byId("about").textContent = server.model_alias + ", " + (n_ctx >= 2 ** 30 - 1 ? "any number of" : n_ctx.toLocaleString("en")) + " tokens of context";
    byId("policy").replaceChildren(element("option", {value: ""}, "The server’s: " + own.policy), ...choices);
    byId("policy").value = before;
    if (byId("policy").selectedIndex < 0) byId("policy").selectedIndex = 0;
    byId("budget").placeholder = own.budget === null ? "all rows" : "The server’s: " + own.budget;
    byId("longest").placeholder = "The server’s: " + server.default_generation_settings.params.n_predict;
    showPolicy();
}

async function connect() {
    try {
        server = await (await request("props")).json();
        tell("");
        byId("key").hidden = true;
        showServer();
    } catch (failure) {
        tellFailure(failure);
    }
}

function method() {
    const own = {kept: true}, policy = byId("policy").value, budget = byId("budget").value.trim();
    if (policy) own.policy = policy;
    if (budget && !byId("budget").disabled) own.budget = budget;
    return own;
}

// ---- the document

const wordsOf = doc => doc.name + ", " + doc.says;

function showDocument() {
    const waits = attached !== null && messages.length === 0;
    byId("document").hidden = !waits;
    byId("choose").hidden = messages.length > 0;
    byId("document-says").textContent = waits ? "The conversation begins with " + wordsOf(attached) + "." : "";
}

async function countTokens(doc) {
    try {
        const reply = await (await request("tokenize", {content: doc.text, parse_special: false})).json();
        doc.says = count(reply.tokens.length, "token", "tokens");
        const n_ctx = server?.default_generation_settings.n_ctx;
        if (reply.tokens.length > n_ctx) doc.says += ", more than the " + n_ctx.toLocaleString("en") + " of the context";
        showDocument();
    } catch { /* it is told when the doc is sent */ }
}

function attach(name, text) {
    if (messages.length > 0) {
        tell("A document begins a conversation. Begin a new conversation to ask about this one.");
    } else if (text.trim() === "") {
        tell(name + " is empty.");
    } else {
        tell("");
        attached = {name, text, says: count(text.length, "character", "characters")};
        showDocument();
        countTokens(attached);
        byId("text").focus();
    }
}

async function attachFile(file) {
    try {
        const text = new TextDecoder("utf-8", {fatal: true}).decode(await file.arrayBuffer());
        if (text.includes("\0")) throw new TypeError();
        attach(file.name, text);
    } catch {
        tell(file.name + " cannot be read as text. Save it as plain text in UTF-8, and choose that file.");
    }
}

const LONG = 2000; // characters: a pasted text of more is a document

function paste(event) {
    const file = event.clipboardData.files[0], text = event.clipboardData.getData("text/plain");
    if (!file && (text.length <= LONG || messages.length > 0)) return;
    event.preventDefault();
    if (file)
        attachFile(file);
    else
        attach("Pasted text", text);
}

// ---- turns

// Text between lines of three backquotes in a box of its own. Everything goes in as text.
function formatted(text) {
    return text.split(/^```[^\n]*\n([^]*?)(?:^```[ \t]*\n?|(?![^]))/m)
        .map((part, i) => i % 2 === 1 ? element("pre", {}, part) : part);
}

function addTurn(kind, who, text) {
    byId("welcome").hidden = true;
    const words = element("div", {class: "text", dir: "auto"}, text);
    const article = element("article", {class: kind}, element("h2", {}, who), words);
    byId("talk").append(article);
    return {article, words, text, shown: text.length, timer: 0};
}

const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 120;
const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

// Shows what has come since the last time; every so often, since the window is laid out anew each time.
function showWords(answer) {
    const follow = atEnd();
    answer.timer = 0;
    answer.words.append(answer.text.slice(answer.shown));
    answer.shown = answer.text.length;
    if (follow) toEnd();
}

function write(answer, text) {
    if (answer.text === "") showStatus("Answering.");
    answer.text += text;
    answer.timer ||= setTimeout(showWords, 40, answer);
}

function think(answer, text) {
    if (!answer.thoughts) {
        showStatus("Thinking.");
        answer.thoughts = element("div", {class: "text", dir: "auto"});
        answer.words.before(element("details", {}, element("summary", {}, "Thoughts"), answer.thoughts));
    }
    answer.thoughts.append(text);
}

function take(answer, chunk) {
    if (chunk.error) throw failureOf(chunk.error, statusOf(chunk.error));
    if (chunk.judgeq) answer.own = chunk.judgeq;
    if (chunk.usage) answer.usage = chunk.usage;
    const choice = chunk.choices?.[0];
    if (choice?.finish_reason) answer.finish = choice.finish_reason;
    if (choice?.delta?.reasoning_content) think(answer, choice.delta.reasoning_content);
    if (choice?.delta?.content) write(answer, choice.delta.content);
}

async function listen(answer) {
    const longest = byId("longest").valueAsNumber;
    const asked = {messages, stream: true, stream_options: {include_usage: true}, judgeq: method()};
    if (longest > 0) asked.max_tokens = longest;
    const reply = await request("v1/chat/completions", asked, running.signal);
    let complete = false;
    for await (const line of lines(reply.body)) {
        if (line.startsWith(": ")) showProgress(line.slice(2));
        if (line === "data: [DONE]") complete = true;
        else if (line.startsWith("data: ")) take(answer, JSON.parse(line.slice(6)));
    }
    if (!complete) throw new Failure("The connection to the server broke. Send again to go on.");
}

function addNote(answer, text) {
    answer.article.append(element("p", {class: "note"}, text));
}

// It goes on with what there is of the answer, whole or not.
function keepAnswer(answer, how) {
    messages.push({role: "assistant", content: answer.text});
    clearTimeout(answer.timer);
    answer.words.replaceChildren(...formatted(answer.text));
    byId("said").textContent = "Answer: " + answer.text; // once, for screen readers
    if (how) addNote(answer, how);
}

function takeFigures(answer) {
    showMemory(answer.own);
    if (answer.usage) showSpeed(answer.own, answer.usage);
    kept = answer.own.kept;
    showKept();
}

const CUT = "The answer was cut off at its longest. Ask the model to go on, or allow a longer answer.";

function endWell(answer) {
    const how = answer.finish === "length" ? CUT : answer.text === "" ? "The answer is empty." : "";
    keepAnswer(answer, how);
    if (answer.own) takeFigures(answer);
}

// A turn without any answer goes back to where it was written; false: it had some.
function takeBack(turn, answer) {
    if (answer.text !== "") return false;
    messages.pop();
    turn.article.remove();
    answer.article.remove();
    byId("welcome").hidden = messages.length > 0;
    byId("text").value = [turn.text, byId("text").value].filter(Boolean).join("\n");
    showDocument();
    return true;
}

function endBadly(turn, answer, error) {
    const stopped = error.name === "AbortError";
    const back = takeBack(turn, answer);
    if (!back) keepAnswer(answer, stopped ? "Stopped." : "The answer is not complete.");
    if (kept) kept = {...kept, stopped: true};
    showKept();
    if (!stopped) tellFailure(error, back ? "Your message is back below." : "");
}

function setRunning(on) {
    if (!on && document.activeElement === byId("stop")) byId("text").focus();
    byId("stop").hidden = !on;
    byId("send").setAttribute("aria-disabled", String(on));
    byId("talk").setAttribute("aria-busy", String(on));
    if (!on) {
        running = null;
        showStatus("");
    }
}

async function converse(text) {
    const doc = messages.length === 0 ? attached : null;
    const turn = addTurn("user", "You", text), answer = addTurn("answer", "Answer", "");
    if (doc) turn.words.before(element("p", {class: "attached", dir: "auto"}, wordsOf(doc)));
    messages.push({role: "user", content: doc ? doc.text + "\n\n" + text : text});
    showDocument();
    showStatus("Waiting for the server.");
    toEnd();
    try {
        await listen(answer);
        endWell(answer);
        if (!server) connect(); // another one, perhaps
    } catch (error) {
        endBadly(turn, answer, error);
    }
    setRunning(false);
}

function send() {
    const text = byId("text").value;
    if (running || text.trim() === "") return;
    running = new AbortController();
    byId("text").value = "";
    tell("");
    setRunning(true);
    showView("talk");
    ended = converse(text);
}

async function newConversation() {
    running?.abort();
    await ended;
    messages.length = 0;
    attached = kept = null;
    for (const article of byId("talk").querySelectorAll("article")) article.remove();
    byId("welcome").hidden = false;
    byId("said").textContent = "";
    tell("");
    showDocument();
    showKept();
    byId("text").focus();
}

// ---- the whole

function showView(name) {
    for (const radio of document.getElementsByName("view")) radio.checked = radio.value === name;
    byId("talk").hidden = name !== "talk";
    byId("kept").hidden = name !== "kept";
    showKept();
}

function startDocuments() {
    byId("choose").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", () => {
        if (byId("file").files[0]) attachFile(byId("file").files[0]);
        byId("file").value = "";
    });
    byId("remove").addEventListener("click", () => {
        attached = null;
        showDocument();
        byId("text").focus();
    });
    byId("text").addEventListener("paste", paste);
    const drops = event => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", event => {
        if (!drops(event)) return;
        event.preventDefault();
        document.body.classList.add("dropping");
    });
    addEventListener("dragleave", event => document.body.classList.toggle("dropping", event.relatedTarget !== null));
    addEventListener("drop", event => {
        document.body.classList.remove("dropping");
        if (!drops(event)) return;
        event.preventDefault();
        attachFile(event.dataTransfer.files[0]);
    });
}

function startKeys() {
    byId("text").addEventListener("keydown", event => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        send();
    });
    addEventListener("keydown", event => {
        if (event.key === "Escape") running?.abort();
    });
    byId("message").addEventListener("submit", event => {
        event.preventDefault();
        send();
    });
    byId("stop").addEventListener("click", () => running?.abort());
    byId("new").addEventListener("click", newConversation);
}

function start() {
    const wide = matchMedia("(min-width: 48.01rem)");
    const open = () => { byId("panel").open = wide.matches; };
    wide.addEventListener("change", open);
    open();
    for (const radio of document.getElementsByName("view")) radio.addEventListener("change", () => showView(radio.value));
    byId("policy").addEventListener("change", showPolicy);
    byId("key").addEventListener("submit", event => {
        event.preventDefault();
        sessionStorage.setItem("judgeq-key", byId("key-text").value);
        byId("key-text").value = "";
        connect();
    });
    startDocuments();
    startKeys();
    startKept();
    byId("text").focus();
    connect();
}

start();
