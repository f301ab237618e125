// The report of an evaluation. data: {run, summary, versus, pictures, samples}; docs/evaluation.md describes run and samples.

const groups = data.summary.groups, run = data.run;
const isNumber = value => typeof value === "number" && isFinite(value);
const shown = (value, missing = "–") => value === null || value === undefined ? missing : String(value);

// ---- the tables

const SHOW = {
    percent: { mean: e => (100 * e.mean).toFixed(1), range: e => (100 * e.low).toFixed(0) + "–" + (100 * e.high).toFixed(0) },
    plain: { mean: e => e.mean.toPrecision(3), range: e => e.low.toPrecision(3) + "–" + e.high.toPrecision(3) },
};
const MEASURES = [["hit_rate", "Critical KV hit rate, %", SHOW.percent], ["mass_kept", "Attention mass kept, %", SHOW.percent],
                  ["kl", "KL divergence from the full cache, nats per token", SHOW.plain],
                  ["perplexity", "Perplexity of the full cache's answer", SHOW.plain]];

function estimateCell(estimate, show, shaded) {
    if (!estimate || !isNumber(estimate.mean)) return element("td", {}, "–");
    const value = element("span", {class: "cell"}, show.mean(estimate));
    if (shaded) {
        const colour = shade(Math.pow(estimate.mean, 2)); // the shade's root undone: scores are spread evenly
        value.style.backgroundColor = rgb(colour);
        value.style.color = textOn(colour);
    }
    const range = isNumber(estimate.low) ? element("small", {}, " (" + show.range(estimate) + ")") : "";
    return element("td", {}, value, range);
}

const budgetsOf = rows => [...new Set(rows.map(row => row.budget).filter(budget => budget !== null))];
const policiesOf = rows => [...new Set(rows.slice(1).map(row => row.policy))];
const rowOf = (rows, policy, budget) => rows.slice(1).find(row => row.policy === policy && row.budget === budget);

function meanOf(rows, policy, measure) {
    const values = rows.slice(1).filter(row => row.policy === policy && row[measure]).map(row => row[measure].mean);
    return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
}

function measureTable(rows, measure, show, shaded) {
    const budgets = budgetsOf(rows), policies = policiesOf(rows);
    if (shaded) policies.sort((a, b) => meanOf(rows, b, measure) - meanOf(rows, a, measure));
    const full = element("tr", {}, element("th", {scope: "row"}, "full cache"),
                         ...(rows[0] ? [estimateCell(rows[0][measure], show, shaded)] : []));
    if (budgets.length > 1 && full.lastChild) full.lastChild.setAttribute("colspan", String(budgets.length));
    if (full.lastChild) full.lastChild.style.textAlign = "center";
    return [
        element("thead", {}, element("tr", {}, element("th", {scope: "col"}, "policy"),
                                     ...budgets.map(budget => element("th", {scope: "col"}, "budget " + budget)))),
        element("tbody", {}, full, ...policies.map(policy => element("tr", {}, element("th", {scope: "row"}, policy),
            ...budgets.map(budget => estimateCell((rowOf(rows, policy, budget) || {})[measure], show, shaded))))),
    ];
}

function scrolled(table) { return element("div", {class: "scroll"}, table); }

function showMeasures() {
    const rows = groups[0].rows;
    byId("scores").append(...measureTable(rows, "score", SHOW.percent, true));
    for (const [measure, title, show] of MEASURES) {
        if (!rows.some(row => row[measure])) continue;
        byId("measures").append(element("details", {}, element("summary", {}, title),
            scrolled(element("table", {}, ...measureTable(rows, measure, show, false)))));
    }
}

function points(value) { return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(100 * value).toFixed(1); }

function showPaired() {
    const pairs = data.summary.paired;
    if (!pairs.length) return;
    const table = element("table", {}, element("thead", {}, element("tr", {},
        ...["against", "budget", "difference, points", "95 % interval", "p"].map(name => element("th", {scope: "col"}, name)))));
    const body = element("tbody");
    for (const pair of pairs) {
        const d = pair.difference;
        // Few samples that agree give an interval without a width: only the test knows how few they are.
        const sure = d && (d.low > 0 || d.high < 0) && pair.p < 0.05;
        body.append(element("tr", {}, element("th", {scope: "row"}, pair.other === "full" ? "full cache" : shown(pair.other)), element("td", {}, shown(pair.budget)),
            element("td", {class: !sure ? "" : d.mean > 0 ? "right" : "wrong"}, d ? points(d.mean) : "–"),
            element("td", {}, d ? points(d.low) + " to " + points(d.high) : "–"),
            element("td", {}, isNumber(pair.p) ? pair.p < 0.001 ? "< 0.001" : pair.p.toFixed(3) : "–")));
    }
    table.append(body);
    byId("paired").append(element("details", {},
        element("summary", {}, "Is " + data.versus + " better than the others? A paired test"),
        element("p", {class: "small faint"}, "Differences on the same samples. Bold: the interval leaves out 0, and p is below 0.05. p: how often chance alone would " +
            "give a difference as large (sign-flip permutation test, not corrected for the number of comparisons)."),
        scrolled(table)));
}

// ---- the pictures

function dataAddress(svg) { return "data:image/svg+xml," + encodeURIComponent(svg); }

// For phones some pictures are drawn anew, narrow; the others are scrolled.
function figure(picture) {
    const dark = "(prefers-color-scheme: dark)", phone = "(max-width: 40rem)";
    const sources = [[picture.narrow_dark, phone + " and " + dark], [picture.narrow, phone], [picture.dark, dark]]
        .filter(([svg]) => svg).map(([svg, media]) => element("source", {media, srcset: dataAddress(svg)}));
    const image = element("img", {src: dataAddress(picture.svg), alt: picture.title + ". " + picture.about});
    return element("figure", picture.narrow ? {class: "fits"} : {}, element("figcaption", {}, element("h3", {}, picture.title),
        element("p", {class: "small faint"}, picture.about)), element("div", {class: "scroll"}, element("picture", {}, ...sources, image)));
}

const SECTIONS = {
    accuracy: "Accuracy against budget", frontier: "Memory and quality", needle: "Needle in a haystack",
    layers: "What each layer kept",
};

function showPictures() {
    for (const [section, title] of Object.entries(SECTIONS)) {
        const pictures = data.pictures.filter(picture => picture.section === section);
        if (pictures.length) byId(section).append(element("h2", {}, title), ...pictures.map(figure));
        else document.querySelector("nav a[href='#" + section + "']").remove();
    }
}

// ---- the answers

const PAGE = 25;
let matches = [], visible = 0;

const arms = data.samples[0].results.map((result, i) => ({
    index: i, name: result.budget === null ? "full cache" : result.policy + ", budget " + result.budget,
}));
const arm = () => Number(byId("arm").value);
const scoreOf = (sample, index) => { const result = sample.results[index]; return result && isNumber(result.score) ? result.score : 0; };
const METRICS = {all: "the share of the references that it holds", any: "whether it holds one of the references"};

// What models and files wrote: it turns no direction but its own, and of megabytes a browser lays out the beginning.
const BRIEF = 2000, WHOLE = 50000;
const excerpt = (text, most) => element("bdi", {}, text.length <= most ? text :
    text.slice(0, most).replace(/[\ud800-\udbff]$/, "") + "… (" + text.length + " characters in all)");
const answerText = (result, most) =>
    shown(result.answer).trim() === "" ? element("span", {class: "faint"}, "(empty)") : excerpt(shown(result.answer), most);
const taskName = sample => shown(sample.task) + (sample.length ? ", " + sample.length + " tokens" : "") +
    (sample.length_group ? ", " + sample.length_group + " words" : "");

function scoreText(score) {
    return element("span", {class: score >= 0.999 ? "right" : score <= 0.001 ? "wrong" : ""}, percent(score));
}

function holdsText(sample, words) {
    if (words === "") return true;
    const result = sample.results[arm()];
    return [result && result.answer, sample.question, ...(sample.references || [])].some(text => shown(text, "").toLowerCase().includes(words));
}

function isWanted(sample) {
    const lost = scoreOf(sample, 0) - scoreOf(sample, arm()), which = byId("which").value;
    return (byId("task").value === "" || byId("task").value === taskName(sample)) &&
        (which === "all" || (which === "lost" ? lost > 0 : lost < 0)) &&
        holdsText(sample, byId("find").value.toLowerCase());
}

// A table of what every policy answered; made when it is opened, for there may be thousands.
function answersTable(sample) {
    return element("table", {}, element("thead", {}, element("tr", {},
        ...["policy", "budget", "score", "answer"].map(name => element("th", {scope: "col"}, name)))),
        element("tbody", {}, ...sample.results.map(result => element("tr", {},
            element("td", {}, result.budget === null ? "full cache" : shown(result.policy)), element("td", {}, shown(result.budget)),
            element("td", {}, isNumber(result.score) ? scoreText(result.score) : "–"),
            element("td", {class: "answer"}, answerText(result, WHOLE))))));
}

function sampleElement(sample) {
    const result = sample.results[arm()] || {}, body = element("div");
    const box = element("details", {class: "sample"}, element("summary", {},
        scoreText(scoreOf(sample, arm())), " ", excerpt(taskName(sample), BRIEF), ": ", element("span", {class: "answer"}, answerText(result, BRIEF)),
        element("br"), element("span", {class: "small faint"}, "wanted: ", excerpt((sample.references || []).join(" | "), BRIEF),
            "; the full cache: " + percent(scoreOf(sample, 0)))), body);
    box.addEventListener("toggle", () => {
        if (!box.open || body.firstChild) return;
        if (sample.question) body.append(element("p", {class: "small faint"}, "Asked, or the prompt's end:"), element("p", {class: "answer question"}, excerpt(sample.question, WHOLE)));
        body.append(element("p", {class: "small"}, "Sample ", element("code", {}, shown(sample.key)), ", " + shown(sample.prompt_tokens) +
            " prompt tokens" + (isNumber(sample.depth) ? ", needle at " + percent(sample.depth) + " of the prompt" : "") +
            ". Score: " + shown(METRICS[sample.metric], "metric " + shown(sample.metric)) + "."), scrolled(answersTable(sample)));
    });
    return box;
}

function showMore() {
    byId("samples").append(...matches.slice(visible, visible + PAGE).map(sampleElement));
    visible = Math.min(visible + PAGE, matches.length);
    byId("more").hidden = visible >= matches.length;
    byId("found").textContent = count(matches.length, "sample", "samples") + ", " + visible + " shown";
}

function showAnswers() {
    matches = data.samples.filter(isWanted);
    matches.sort((a, b) => scoreOf(a, arm()) - scoreOf(b, arm()) || scoreOf(b, 0) - scoreOf(a, 0) ||
        String(a.key).localeCompare(String(b.key), "en", {numeric: true}));
    visible = 0;
    byId("samples").replaceChildren();
    showMore();
}

function startAnswers() {
    const tasks = [...new Set(data.samples.map(taskName))].sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
    byId("task").append(element("option", {value: ""}, "all tasks"), ...tasks.map(task => element("option", {value: task}, task)));
    byId("arm").append(...arms.map(one => element("option", {value: one.index}, one.name)));
    const first = arms.find(one => data.samples[0].results[one.index].policy === data.versus);
    byId("arm").value = first ? first.index : 0;
    for (const id of ["task", "arm", "which", "find"]) byId(id).addEventListener("input", showAnswers);
    byId("more").addEventListener("click", showMore);
    showAnswers();
}

// ---- what was run

function term(name, ...description) { return [element("dt", {}, name), element("dd", {}, ...description)]; }

function quoted(text) { return /^[\w.,:=%+/-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'"; }

function commandLine() {
    const policies = run.policies.slice(1).map(one => one.policy);
    const words = ["judgeq", "eval", (run.tasks || []).join(","), "--length", (run.lengths || []).join(","), "--samples", shown(run.samples),
                   "--seed", shown(run.seed), "--policies", policies.join(policies.some(text => text.includes("=")) ? ";" : ","),
                   "--budgets", (run.budgets || []).join(",")];
    if (run.model && run.model.path) words.push("-m", run.model.path);
    return words.map(quoted).join(" ");
}

function showRun() {
    const model = run.model || {}, judge = run.judge, list = byId("run");
    list.append(...term("Command", element("code", {}, shown(run.command, commandLine()))),
        ...term("Model", shown(model.name || model.path) + ", fingerprint " + shown(model.fingerprint)),
        ...term("Judge", judge ? shown(judge.origin) + "; hash " + shown(judge.hash) : "none"),
        ...term("Samples", count(data.samples.length, "sample", "samples") + " finished; " + shown(run.samples) + " per task and length, seed " + shown(run.seed)),
        ...term("Started", shown(run.started) + ", judgeq " + shown(run.version)));
    if (run.settings) {
        list.append(...term("Settings", Object.entries(run.settings).map(([key, value]) => key + " " + shown(value, "–")).join(", ")));
    }
    for (const one of run.policies || []) list.append(...term(shown(one.policy), element("code", {}, shown(one.policy_text))));
}

// Samples that are in no number of this page.
function showMissing() {
    for (const [list, many, why] of [[data.damaged, "damaged records", "are not what judgeq eval writes"],
                                     [run.left_out || [], "samples that could not be asked", "were left out of the run"]]) {
        if (!list.length) continue;
        byId("missing").append(element("details", {}, element("summary", {}, many + ": " + list.length + " (" + why + ")"),
            element("ul", {class: "small"}, ...list.map(one => element("li", {}, element("code", {}, shown(one.key)), ": " + shown(one.reason))))));
    }
}

function start() {
    const model = run.model || {};
    byId("about").textContent = shown(model.name || model.path) + ": " + count(policiesOf(groups[0].rows).length, "policy", "policies") +
        " at budgets of " + (run.budgets || []).map(budget => budget.endsWith("%") ? budget + " of the prompt" : budget + " rows").join(", ") + ", on " + count(data.samples.length, "sample", "samples") +
        "; every policy saw the same prefill.";
    showMissing();
    showMeasures();
    showPaired();
    showPictures();
    startAnswers();
    showRun();
    darkPage.addEventListener("change", () => { byId("scores").replaceChildren(); byId("measures").replaceChildren(); showMeasures(); });
}

start();
