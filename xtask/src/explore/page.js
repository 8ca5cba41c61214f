// The learner is the scheduler. What the threads do comes from the program that wrote this page:
// `data` has their steps, the goals, the counts and all that is said.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const threads = [0, 1];
const letters = ["A", "B"];

// The model: each function takes a state and leaves it as it is.

const start = () => ({
  variable: 0,
  registers: [null, null],
  slots: Array(data.slots).fill(null),
  holders: data.locks.map(() => null),
  taken: [],
});

const stepsOf = (state, thread) => state.taken.filter((step) => step.thread === thread).length;

const nextOf = (state, thread) => data.programs[thread][stepsOf(state, thread)];

// The lock that a thread waits for, by its number.
const awaited = (state, thread) => {
  const next = nextOf(state, thread);
  return next && next.do === "acquire" && state.holders[next.lock] !== null ? next.lock : null;
};

const isAble = (state, thread) => Boolean(nextOf(state, thread)) && awaited(state, thread) === null;

// The stores of the other thread to the same place that this thread has not seen.
function overwritten(state, thread, action) {
  const { taken, registers } = state;
  const lastLoad = taken.findLastIndex((step) => step.thread === thread && step.do === "load");
  const isSamePlace = (step, at) =>
    (action.do === "store" && step.do === "store" && at > lastLoad) ||
    (action.do === "put" && step.do === "put" && step.slot === registers[thread]);
  return taken.flatMap((step, at) => (step.thread !== thread && isSamePlace(step, at) ? [at + 1] : []));
}

function take(before, thread) {
  const action = nextOf(before, thread);
  const state = structuredClone(before);
  const step = { ...action, thread, overwrites: overwritten(before, thread, action) };
  const register = before.registers[thread];
  if (action.do === "load") {
    step.value = state.registers[thread] = state.variable;
  } else if (action.do === "store") {
    step.value = state.variable = register + action.add;
  } else if (action.do === "put") {
    step.slot = register;
    step.value = state.slots[register] = action.item;
  } else {
    state.holders[action.lock] = action.do === "acquire" ? thread : null;
  }
  step.after = { variable: state.variable, slots: [...state.slots], holders: [...state.holders] };
  state.taken.push(step);
  return state;
}

const play = (schedule) => [...schedule].reduce((state, letter) => take(state, letters.indexOf(letter)), start());

const scheduleOf = (state) => state.taken.map((step) => letters[step.thread]).join("");

// How it has ended, or null while a thread can take a step.
function endingOf(state) {
  if (threads.some((thread) => isAble(state, thread))) return null;
  if (threads.some((thread) => nextOf(state, thread))) return "deadlock";
  return data.slots ? `[${state.slots.slice(0, state.variable).join(", ")}]` : String(state.variable);
}

const lostOf = (state) => data.slots - state.variable;

// How many orders lead from here to which ending.
function countFrom(state, counts = {}) {
  const ending = endingOf(state);
  if (ending !== null) counts[ending] = (counts[ending] || 0) + 1;
  for (const thread of threads) if (isAble(state, thread)) countFrom(take(state, thread), counts);
  return counts;
}

const conditions = {
  ends: (state, ending) => endingOf(state) === ending,
  ends_other_than: (state, usual) => ![null, usual].includes(endingOf(state)),
  ends_despite_overwriting: (state, ending) =>
    endingOf(state) === ending && state.taken.some((step) => step.overwrites.length > 0),
  loses: (state, items) => endingOf(state) !== null && lostOf(state) === items,
  waits: (state, thread) => awaited(state, thread) !== null,
};

// What is said: the sentences have fields in braces.

const say = (name, fields = {}) => data.sentences[name].replace(/\{(\w+)\}/g, (_, field) => fields[field]);

function happened(step) {
  const [t, o] = [letters[step.thread], letters[1 - step.thread]];
  const place = step.do === "put" ? `slots[${step.slot}]` : data.variable;
  const lock = data.locks[step.lock];
  const name = step.do === "put" ? "store" : step.do;
  const said = say(name, { t, place, lock, value: step.value, variable: data.variable, register: data.register });
  const steps = step.overwrites.join(data.sentences.and);
  return steps ? said + say("overwrites", { o, steps }) : said;
}

const waits = (thread, lock) => say("waits", { t: letters[thread], o: letters[1 - thread], lock: data.locks[lock] });

function ended(state) {
  const ending = endingOf(state);
  if (ending === "deadlock") return say("deadlock");
  if (!data.slots) return say("ends", { variable: data.variable, ending });
  const lost = lostOf(state);
  return say(lost ? "ends_short" : "ends_whole", { ending, lost });
}

// The page.

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// A new element; what stands between backquotes in its text is code.
function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.className = className;
  write(made, text);
  return made;
}

function write(target, text) {
  const pieces = text.split("`").map((piece, at) => {
    if (at % 2 === 0) return piece;
    const code = document.createElement("code");
    code.textContent = piece;
    return code;
  });
  target.replaceChildren(...pieces);
}

const shown = (value) => (value === null ? "–" : String(value));
const holder = (thread) => (thread === null ? data.sentences.free : letters[thread]);
const contents = (slots) => `[${slots.map(shown).join(", ")}]`;

let state = start();
const reached = new Set();
// The orders that were played to their end.
const finished = new Set();

// Notes the goals that are reached now, and gives those that were not before.
function newGoals() {
  if (endingOf(state) !== null) finished.add(scheduleOf(state));
  const isReached = (goal) => {
    const [[name, value]] = Object.entries(goal.when);
    // That no order does it is seen by whoever has tried them all.
    return conditions[name](state, value) || (goal.count === 0 && finished.size === data.orders);
  };
  const found = data.goals.filter((goal) => !reached.has(goal) && isReached(goal));
  found.forEach((goal) => reached.add(goal));
  return found;
}

function drawProgram(thread) {
  const done = stepsOf(state, thread);
  const lost = new Map(state.taken.flatMap((step, at) => step.overwrites.map((number) => [number - 1, at + 1])));
  const places = state.taken.flatMap((step, at) => (step.thread === thread ? [at] : []));
  all(`.thread.${letters[thread]} .step`).forEach((item, at) => {
    const isNext = at === done;
    item.classList.toggle("done", at < done);
    item.classList.toggle("lost", at < done && lost.has(places[at]));
    if (isNext) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
    one(".when", item).textContent = at < done ? say("at", { n: places[at] + 1 }) : "";
  });
  const lock = awaited(state, thread);
  const next = nextOf(state, thread);
  const text = next ? (lock === null ? "`" + next.code + "`" : waits(thread, lock)) : data.sentences.done;
  write(one(`#next-${letters[thread]}`), text);
  // It stays in the order of focus: whoever has just pressed it is not thrown out of the page.
  one(`#step-${letters[thread]}`).setAttribute("aria-disabled", String(!isAble(state, thread)));
}

function drawMemory() {
  const fact = (name, value) => {
    const row = document.createElement("div");
    row.append(element("dt", name), element("dd", value));
    return row;
  };
  const facts = [fact("`" + data.variable + "`", String(state.variable))];
  for (const thread of threads)
    facts.push(fact(say("of", { register: data.register, t: letters[thread] }), shown(state.registers[thread])));
  data.locks.forEach((lock, at) => facts.push(fact("`" + lock + "`", holder(state.holders[at]))));
  if (data.slots) facts.push(fact("`slots`", contents(state.slots)));
  one("#memory").replaceChildren(...facts);
}

// Time runs downwards: a row for each step, in the column of its thread.
function drawSteps() {
  const lost = new Map(state.taken.flatMap((step, at) => step.overwrites.map((number) => [number, at + 1])));
  const rows = state.taken.map((step, at) => {
    const row = document.createElement("tr");
    const number = element("th", String(at + 1));
    number.scope = "row";
    const by = lost.get(at + 1);
    const box = element("td", "`" + step.code + "`", `box ${letters[step.thread]}${by ? " lost" : ""}`);
    if (by) box.append(element("strong", say("lost_by", { n: by })));
    const cells = threads.map((thread) => (thread === step.thread ? box : element("td")));
    const { variable, holders, slots } = step.after;
    row.append(number, ...cells, element("td", String(variable)));
    row.append(...holders.map((thread) => element("td", holder(thread), "lock")));
    if (data.slots) row.append(element("td", contents(slots)));
    return row;
  });
  one("#steps tbody").replaceChildren(...rows);
}

function drawGoals() {
  all("#goals li").forEach((item, at) => {
    const isReached = reached.has(data.goals[at]);
    item.classList.toggle("good", isReached);
    one(".mark", item).textContent = isReached ? "✓" : "○";
    one(".reached", item).textContent = isReached ? data.sentences.reached : "";
  });
}

function drawOutcomes() {
  const counts = countFrom(state);
  for (const row of all("#outcomes tbody tr")) {
    const here = counts[row.dataset.ending] || 0;
    one(".here", row).textContent = here;
    one("i", row).style.width = `${(100 * here) / Number(one(".count", row).textContent)}%`;
    row.classList.toggle("gone", here === 0);
    row.classList.toggle("came", endingOf(state) === row.dataset.ending);
  }
}

// Shows a state, and says what led to it. Goals count where the learner took the step.
function show(after, sentences, isOwnStep = false) {
  state = after;
  const said = [...sentences];
  for (const thread of threads) {
    const lock = awaited(state, thread);
    if (lock !== null) said.push(waits(thread, lock));
  }
  if (endingOf(state) !== null) said.push(ended(state));
  for (const goal of isOwnStep ? newGoals() : []) said.push(say("goal", { text: goal.text }));
  write(one("#said"), said.map((sentence) => sentence + data.sentences.stop).join(""));
  threads.forEach(drawProgram);
  drawMemory();
  drawSteps();
  drawGoals();
  drawOutcomes();
  one("#again code").textContent = `cargo xtask explore ${data.name} --schedule ${scheduleOf(state)}`;
  one("#again").hidden = endingOf(state) === null;
}

function step(thread) {
  if (isAble(state, thread)) {
    const after = take(state, thread);
    show(after, [happened(after.taken.at(-1))], true);
  } else if (nextOf(state, thread)) {
    show(state, []);
  } else {
    show(state, [say("is_done", { t: letters[thread], steps: data.programs[thread].length })]);
  }
}

threads.forEach((thread) => one(`#step-${letters[thread]}`).addEventListener("click", () => step(thread)));
one("#undo").addEventListener("click", () => {
  const before = scheduleOf(state);
  show(play(before.slice(0, -1)), [before ? data.sentences.undone : data.sentences.begin]);
});
one("#restart").addEventListener("click", () => show(start(), [data.sentences.begin]));
for (const button of all("[data-schedule]"))
  button.addEventListener("click", () => {
    const { schedule } = button.dataset;
    show(play(schedule), [say("shown", { schedule })]);
    one("#play").scrollIntoView();
  });
document.addEventListener("keydown", (event) => {
  const button = one(`[aria-keyshortcuts="${CSS.escape(event.key.toLowerCase())}"]`);
  const isPlain = !event.ctrlKey && !event.altKey && !event.metaKey;
  if (button && isPlain && one("#keys").checked) button.click();
});
show(start(), [data.sentences.begin]);
