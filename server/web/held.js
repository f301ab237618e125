// What is kept: all tokens of the conversation, coloured by the share of the layers and KV heads that hold each of them.

let kept = null;   // {pieces, share}, as an answer has them; null: there was none
let chosen = -1;   // the token that is read out
let shownKept = null;

function heldBy(share) {
    if (share <= 0) return "no longer held";
    if (share >= 1) return "held by all layers and KV heads";
    return "held by " + (share < 0.01 ? "less than 1 %" : percent(share)) + " of the layers and KV heads";
}

function nameOf(piece) {
    if (piece === "") return "no text";
    if (piece.trim() === "") return piece.includes("\n") ? "line break" : "space";
    return "“" + piece.trim() + "”";
}

function paintToken(span, share) {
    const colour = share > 0 ? shade(share) : null;
    span.classList.toggle("gone", !colour);
    span.style.backgroundColor = colour ? rgb(colour) : "";
    span.style.color = colour ? textOn(colour) : "";
}

function tokenSpan(piece, i) {
    const says = nameOf(piece) + ", " + heldBy(kept.share[i]);
    const attributes = {id: "token-" + i, role: "option", "aria-selected": "false", "aria-label": says, title: says};
    const span = element("span", attributes, piece === "" ? "◇" : piece);
    paintToken(span, kept.share[i]);
    return span;
}

function legend() {
    const chip = share => {
        const made = element("span", {class: "chip"}, share > 0 ? percent(share) : "none");
        paintToken(made, share);
        return made;
    };
    return ["Share of the layers and KV heads that hold a token:", ...[0, 0.01, 0.1, 0.25, 0.5, 0.75, 1].map(chip)];
}

function describeKept() {
    if (!kept) return "Nothing was read yet. After the first answer, this shows the whole conversation.";
    const mean = kept.share.reduce((sum, share) => sum + share, 0) / kept.share.length;
    return "The model has read " + count(kept.pieces.length, "token", "tokens") + " and still holds " + percent(mean) +
        " of their rows. A row is what one layer and KV head keeps of one token." +
        (kept.stopped ? " This is how it was before the answer that was stopped." : "");
}

// Only while the view is open: a long conversation has many tokens.
function showKept() {
    if (byId("kept").hidden) return;
    byId("kept-says").textContent = describeKept();
    if (shownKept === kept) return;
    shownKept = kept;
    chosen = -1;
    byId("token").textContent = kept ? "Choose a token by a click, or with the arrow keys, to read how much of it is held." : "";
    byId("frames").hidden = !kept;
    byId("legend").replaceChildren(...(kept ? legend() : []));
    byId("tokens").replaceChildren(...(kept ? kept.pieces.map(tokenSpan) : []));
    byId("tokens").removeAttribute("aria-activedescendant");
}

function chooseToken(i) {
    const spans = byId("tokens").children;
    if (i < 0 || i >= spans.length) return;
    if (chosen >= 0) {
        spans[chosen].classList.remove("chosen");
        spans[chosen].setAttribute("aria-selected", "false");
    }
    chosen = i;
    spans[i].classList.add("chosen");
    spans[i].setAttribute("aria-selected", "true");
    spans[i].scrollIntoView({block: "nearest"});
    byId("tokens").setAttribute("aria-activedescendant", spans[i].id);
    byId("token").textContent = "Token " + (i + 1) + " of " + spans.length.toLocaleString("en") + ": " + spans[i].title + ".";
}

function startKept() {
    byId("tokens").addEventListener("click", event => chooseToken([...byId("tokens").children].indexOf(event.target)));
    byId("tokens").addEventListener("keydown", event => {
        const last = byId("tokens").children.length - 1;
        const to = {ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0, End: last}[event.key];
        if (to === undefined) return;
        event.preventDefault();
        chooseToken(Math.min(Math.max(to, 0), last));
    });
    darkPage.addEventListener("change", () => {
        shownKept = null;
        showKept();
    });
}
