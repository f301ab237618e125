"use strict";
// Shared by all pages: elements, numbers, colours.

// Texts go in as text nodes only: whatever is in the data stays text.
function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
}

function byId(id) { return document.getElementById(id); }

function percent(share, digits = 0) { return (100 * share).toFixed(digits) + " %"; }

function bytes(n) {
    const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (n >= 1024 && unit + 1 < units.length) { n /= 1024; unit++; }
    return (unit ? n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0) : n) + " " + units[unit];
}

function count(n, one, many) { return n.toLocaleString("en") + " " + (n === 1 ? one : many); }

// Shares from the page's own colour to the one that stands out most on it, in even steps of lightness. Along the square
// root: most shares are small, and the small ones differ too.
const SCALES = {
    light: [[255, 255, 255], [222, 235, 247], [158, 202, 225], [49, 130, 189], [8, 48, 107]],
    dark: [[21, 25, 30], [24, 58, 92], [33, 113, 165], [107, 182, 225], [232, 245, 253]],
};
const darkPage = matchMedia("(prefers-color-scheme: dark)");

function blend(a, b, part) { return a.map((value, i) => Math.round(value + (b[i] - value) * part)); }

function shade(share) {
    const steps = SCALES[darkPage.matches ? "dark" : "light"], last = steps.length - 1;
    const at = Math.sqrt(Math.min(Math.max(share, 0), 1)) * last, low = Math.min(Math.floor(at), last - 1);
    return blend(steps[low], steps[low + 1], at - low);
}

function rgb(colour) { return "rgb(" + colour.join(",") + ")"; }

// Black or white, whichever is read better on the colour.
function textOn(colour) {
    const linear = colour.map(value => Math.pow(value / 255, 2.2)); // luminance as WCAG's contrast has it, nearly
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18 ? "#000" : "#fff";
}
