// Which tokens a policy keeps. data: what judgeq inspect --kept --json prints (docs/reports.md).

const n = data.tokens.length;
const policies = [...new Set(data.cuts.map(cut => cut.policy))];
const cutsOf = policy => data.cuts.filter(cut => cut.policy === policy);
const BLUE = [86, 152, 214], ORANGE = [224, 122, 47], GREY = [150, 150, 150];
let chosen = -1;

function forRuns(runs, visit) {
    for (let i = 0; i < runs.length; i += 2) visit(runs[i], runs[i + 1]);
}

// The share of the layers and KV heads that keep each token; layer, head: -1 for all.
function shares(cut, layer, head) {
    const share = new Float32Array(n);
    let maps = 0;
    cut.kept.forEach((heads, l) => heads.forEach((runs, h) => {
        if ((layer >= 0 && l !== layer) || (head >= 0 && h !== head)) return;
        maps++;
        forRuns(runs, (first, last) => { for (let i = first; i <= last && i < n; i++) share[i]++; });
    }));
    return share.map(value => value / maps);
}

function keeps(runs, position) {
    for (let i = 0; i < runs.length; i += 2) {
        if (runs[i] <= position && position <= runs[i + 1]) return true;
    }
    return false;
}

// ---- the state of the controls

const layer = () => Number(byId("layer").value);
const head = () => Number(byId("head").value);
const cutOf = policy => cutsOf(policy)[Number(byId("budget").value)];
const current = () => cutOf(byId("policy").value);
const other = () => byId("compare").value === "" ? null : cutOf(byId("compare").value);

function where() {
    const layers = layer() < 0 ? count(data.n_layer, "layer", "layers") : "layer " + layer();
    const heads = head() < 0 ? count(data.n_head_kv, "KV head", "KV heads") : "KV head " + head();
    return layers + ", " + heads;
}

// ---- the text

const spans = data.tokens.map((token, i) => {
    const span = element("span", {"data-position": i});
    span.textContent = token.text !== "" ? token.text : token.control ? "◇" : "◌";
    return span;
});

function paint(span, colour) {
    span.classList.toggle("gone", !colour);
    span.style.backgroundColor = colour ? rgb(colour) : "";
    span.style.color = colour ? textOn(colour) : "";
}

// The colour of a token that a and b of the layers and heads keep: one policy alone, or two compared.
function colourOf(a, b) {
    if (b === null) return a > 0 ? shade(a) : null;
    if (a === 0 && b === 0) return null;
    const hue = blend(GREY, a > b ? BLUE : ORANGE, Math.abs(a - b) / (a + b));
    return blend(shade(0), hue, 0.2 + 0.8 * Math.sqrt(Math.max(a, b)));
}

function showText() {
    const a = shares(current(), layer(), head()), b = other() && shares(other(), layer(), head());
    spans.forEach((span, i) => paint(span, colourOf(a[i], b ? b[i] : null)));
}

function chip(text, colour) {
    const made = element("span", {class: "chip"}, text);
    paint(made, colour);
    return made;
}

function showScale() {
    const a = byId("policy").value, b = byId("compare").value;
    byId("scale").replaceChildren(...(b === ""
        ? ["Share of " + where() + " that keep a token:", chip("none", null),
           ...[0.01, 0.1, 0.25, 0.5, 0.75, 1].map(share => chip(percent(share), shade(share)))]
        : [chip("neither", null), chip("only " + a, BLUE), chip("both alike", GREY), chip("only " + b, ORANGE),
           "Paler: in fewer of " + where() + "."]));
}

// ---- the map

function showMap() {
    const canvas = byId("map"), width = Math.max(n, 1), pen = canvas.getContext("2d");
    canvas.width = width;
    canvas.height = data.n_layer;
    canvas.style.imageRendering = width < 2 * canvas.clientWidth ? "pixelated" : "auto";
    const cut = current();
    for (let l = 0; l < data.n_layer; l++) {
        shares(cut, l, head()).forEach((share, i) => {
            pen.fillStyle = rgb(shade(share));
            pen.fillRect(i, l, 1, 1);
        });
    }
    if (layer() >= 0) { // the other layers stand back
        pen.fillStyle = "rgba(128,128,128,.6)";
        pen.fillRect(0, 0, width, layer());
        pen.fillRect(0, layer() + 1, width, data.n_layer);
    }
    if (chosen >= 0) {
        pen.fillStyle = "rgba(255,90,60,.8)";
        pen.fillRect(chosen, 0, Math.max(1, width / 500), data.n_layer);
    }
}

// ---- the chosen token

// Of a KV head of a layer: which of the cuts keep the chosen token.
function headCell(cuts, l, h) {
    const holds = cuts.map(cut => keeps(cut.kept[l][h], chosen)), alone = holds.filter(Boolean).length === 1;
    if (!holds.some(Boolean)) return element("td", {}, "·");
    const cell = element("td", {}, cuts.length === 1 ? "kept" : alone ? ["A", "B"][holds.indexOf(true)] : "both");
    paint(cell, cuts.length === 1 ? shade(1) : alone ? [BLUE, ORANGE][holds.indexOf(true)] : GREY);
    return cell;
}

function headTable(cuts) {
    const kept = cuts[0].kept;
    return [element("tr", {}, element("th", {}, "layer"), ...kept[0].map((_, h) => element("th", {}, "head " + h))),
            ...kept.map((heads, l) => element("tr", {}, element("th", {}, String(l)), ...heads.map((_, h) => headCell(cuts, l, h))))];
}

function showToken() {
    if (chosen < 0) return;
    const token = data.tokens[chosen], cuts = other() ? [current(), other()] : [current()], total = data.n_layer * data.n_head_kv;
    const facts = cut => cut.policy + " keeps it in " + cut.kept.flat().filter(runs => keeps(runs, chosen)).length + " of " + total +
        " layers and KV heads.";
    byId("token").textContent = "Token " + chosen + ": " + (token.text !== "" ? JSON.stringify(token.text) : token.control ? "control" : "part of a character");
    byId("facts").textContent = "Vocabulary id " + token.id + ". " + (cuts.length > 1 ? cuts.map((cut, i) => "AB"[i] + ": " + facts(cut)).join(" ") : facts(cuts[0]));
    byId("heads").replaceChildren(...headTable(cuts));
}

function choose(position) {
    if (position < 0 || position >= n) return;
    if (chosen >= 0) spans[chosen].classList.remove("chosen");
    chosen = position;
    spans[chosen].classList.add("chosen");
    spans[chosen].scrollIntoView({block: "nearest"});
    showToken();
    showMap();
}

// ---- all together

function show() {
    const cut = current();
    const held = one => count(one.rows, "row", "rows") + ", " + percent(one.rows / n, 1) + " of the prompt; " +
        bytes(one.kv_bytes_held) + " of " + bytes(data.kv_bytes_full);
    byId("rows").textContent = !other() || held(other()) === held(cut) ? held(cut)
        : cut.policy + ": " + held(cut) + ". " + other().policy + ": " + held(other());
    byId("budget").setAttribute("aria-valuetext", count(cut.rows, "row", "rows"));
    byId("layers").textContent = layer() < 0 ? "all " + data.n_layer + ", mean" : "layer " + layer() + " of 0 to " + (data.n_layer - 1);
    byId("layer").setAttribute("aria-valuetext", byId("layers").textContent);
    showScale();
    showText();
    showMap();
    showToken();
}

function start() {
    byId("about").textContent = (data.model_name || data.model) + " read " + count(n, "token", "tokens") +
        ". In each of its " + count(data.n_layer, "layer", "layers") + " and each of the " +
        count(data.n_head_kv, "KV head", "KV heads") + " of a layer, the policy chose which tokens' keys and values stay.";
    byId("policy").append(...policies.map(policy => element("option", {value: policy}, policy)));
    byId("compare").append(element("option", {value: ""}, "nothing"),
                           ...policies.map(policy => element("option", {value: policy}, policy)));
    byId("comparing").hidden = policies.length < 2;
    byId("head").append(element("option", {value: -1}, "all " + data.n_head_kv + ", mean"),
                        ...data.cuts[0].kept[0].map((_, h) => element("option", {value: h}, "head " + h)));
    const last = cutsOf(policies[0]).length - 1;
    byId("budget").max = last;
    byId("budget").value = Math.floor(last / 2);
    byId("budget").disabled = last === 0;
    byId("layer").max = data.n_layer - 1;
    byId("last").textContent = "token " + (n - 1);
    byId("tokens").append(...spans);
    for (const id of ["policy", "compare", "budget", "layer", "head"]) byId(id).addEventListener("input", show);
    byId("tokens").addEventListener("click", event => {
        const position = event.target.dataset.position;
        if (position !== undefined) choose(Number(position));
    });
    byId("tokens").addEventListener("keydown", event => {
        const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
        if (step === undefined) return;
        event.preventDefault();
        choose(chosen < 0 ? 0 : chosen + step);
    });
    darkPage.addEventListener("change", show);
    show();
}

start();
