// What the page is and how it looks, as data for the test.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const seen = (element) => {
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  return box.width > 0 && box.height > 0 && style.visibility !== "hidden";
};
const text = (element) => (element ? element.textContent.trim() : "");
all("details").forEach((details) => (details.open = true));

// Colours: [r, g, b, alpha], and their contrast as WCAG has it.
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = ([r, g, b]) => {
  const part = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const contrast = (one, other) => {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = rgba(getComputedStyle(at).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return rgba(getComputedStyle(document.body).backgroundColor);
};

// Within a picture, what is behind a text is the last shape before it that holds its middle.
const inside = (shape, box) => {
  const outer = shape.getBoundingClientRect();
  const x = (box.left + box.right) / 2;
  const y = (box.top + box.bottom) / 2;
  return outer.left <= x && x <= outer.right && outer.top <= y && y <= outer.bottom;
};
const behindInPicture = (label, picture) => {
  const box = label.getBoundingClientRect();
  let found = behind(picture.parentElement);
  for (const shape of all("rect, circle, path, text", picture)) {
    if (shape === label) break;
    if (shape.tagName === "text" || !inside(shape, box)) continue;
    const fill = rgba(getComputedStyle(shape).fill);
    if (getComputedStyle(shape).fill !== "none" && fill[3] === 255) found = fill;
  }
  return found;
};

const pale = [];
let compared = 0;
const compare = (what, one, other) => {
  compared += 1;
  const found = contrast(one, other);
  if (found < 4.5) pale.push(`${what}: ${found.toFixed(2)}`);
};
const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (words.nextNode()) {
  const parent = words.currentNode.parentElement;
  if (!words.currentNode.data.trim() || parent.closest("svg") || !seen(parent)) continue;
  if (parent.closest(".jump")) continue;
  compare(words.currentNode.data.trim().slice(0, 40), rgba(getComputedStyle(parent).color), behind(parent));
}

const pictures = all("svg.picture").filter(seen);
const overlapping = [];
const outside = [];
for (const picture of pictures) {
  const labels = all("text", picture);
  const frame = picture.getBoundingClientRect();
  const name = picture.closest("figure").id;
  labels.forEach((label, at) => {
    const fill = rgba(getComputedStyle(label).fill);
    compare(`${name}: ${text(label)}`, fill, behindInPicture(label, picture));
    const box = label.getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1)
      outside.push(`${name}: ${text(label)}`);
    for (const other of labels.slice(at + 1)) {
      const beside = other.getBoundingClientRect();
      const wide = Math.min(box.right, beside.right) - Math.max(box.left, beside.left);
      const high = Math.min(box.bottom, beside.bottom) - Math.max(box.top, beside.top);
      if (wide > 1 && high > 4) overlapping.push(`${name}: "${text(label)}" and "${text(other)}"`);
    }
  });
}

// Wider than the window: the page itself, or a box that sticks out of it and does not scroll.
const width = document.documentElement.clientWidth;
const wider = [];
if (document.documentElement.scrollWidth > width) wider.push(`the page: ${document.documentElement.scrollWidth}`);
for (const element of all("body *:not(svg *):not(.jump)").filter(seen)) {
  const scrolls = element.closest("pre, .out");
  if (!(scrolls && scrolls !== element) && element.getBoundingClientRect().right > width + 1)
    wider.push(`${element.tagName} ${text(element).slice(0, 40)}`);
}

// Whatever can be reached or seen has a name for those who hear it.
const nameless = all("a, summary, nav").filter((element) => !text(element)).map((element) => element.outerHTML);
const levels = all("h1, h2, h3, h4").map((heading) => Number(heading.tagName[1]));
levels.slice(1).forEach((level, at) => {
  if (level > levels[at] + 1) nameless.push(`heading ${at + 1} skips a level`);
});
const ids = all("[id]").map((element) => element.id);
ids.forEach((id, at) => {
  if (ids.indexOf(id) !== at) nameless.push(`two elements are called ${id}`);
});

// Each mark has one colour: on both sides, and in the picture of the pool.
const colours = {};
for (const line of all("#pool .out li")) {
  const mark = text(line.querySelector(".mark"));
  colours[mark] = new Set([...(colours[mark] || []), getComputedStyle(line.querySelector(".mark")).backgroundColor]);
}
for (const bar of pictures.filter((picture) => picture.closest("#pool-gantt")).flatMap((picture) => all("rect.box", picture))) {
  const row = all("text", bar.ownerSVGElement).find((label) => {
    const [one, other] = [label.getBoundingClientRect(), bar.getBoundingClientRect()];
    return /^W/.test(text(label)) && Math.abs((one.top + one.bottom) / 2 - (other.top + other.bottom) / 2) < 6;
  });
  const mark = text(row).split(" ")[0];
  (colours[mark] = colours[mark] || new Set()).add(getComputedStyle(bar).fill);
}

return {
  lang: document.documentElement.lang,
  verdict: text(document.querySelector("#verdict")),
  again: text(document.querySelector("#again")),
  chinese: (document.body.innerText.match(/[\u4e00-\u9fff]/g) || []).length,
  articles: all("article").map((article) => ({
    heading: text(article.querySelector("h3")).replace(/\s+/g, " "),
    lines: all(".out li", article).length,
    checks: all(".checks li", article).length,
    teaches: text(article.querySelector("h3 ~ p:not(.idea)")).length,
    unlabelled: all(".out li.stray", article).length,
  })),
  sources: all("details.source pre").length,
  pictures: pictures.map((picture) => picture.closest("figure").id),
  mute: pictures
    .filter((picture) => {
      const [title, desc] = picture.getAttribute("aria-labelledby").split(" ").map((id) => document.getElementById(id));
      return picture.getAttribute("role") !== "img" || !text(title) || text(desc).length < 20;
    })
    .map((picture) => picture.closest("figure").id),
  wider,
  overlapping,
  outside,
  pale,
  nameless,
  compared,
  colours: Object.fromEntries(Object.entries(colours).map(([mark, set]) => [mark, [...set]])),
};
