// Asks the service this page came from, and shows the answer and its reasons. Loads nothing else, keeps nothing.
"use strict";

const BARS = 8;
const $ = (id) => document.getElementById(id);
const state = { model: null, request: null };

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;

/** Two shares with as many digits as it takes to tell them apart. */
function apart(one, other) {
  let digits = 1;
  while (digits < 6 && one !== other && percent(one, digits) === percent(other, digits)) digits += 1;
  return [percent(one, digits), percent(other, digits)];
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

class Trouble extends Error {}

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, options || {});
  } catch {
    throw new Trouble("The service cannot be reached. Is the network there, and the service running? Your message is still here: try again.");
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Trouble(words(answer, told));
  return told;
}

/** What to tell a person about an answer that is no success. */
function words(answer, told) {
  const wait = Number(answer.headers.get("Retry-After"));
  const again = wait > 0 ? `Try again in ${wait} ${wait === 1 ? "second" : "seconds"}.` : "Try again in a moment.";
  switch (answer.status) {
    case 401: return "The service asks for an API key. Reload the page: the browser asks for a name, which may be any, and a password, which is the key.";
    case 403: return `Not allowed: ${told.error || "this API key may not do that"}.`;
    case 404: return "This answer is not on record any more, so its label cannot be noted.";
    case 429: return `The service has too much to do just now, or this key has asked too fast. ${again}`;
    case 503: return `No model can answer just now. ${again}`;
    case 504: return "No answer came in time. Try again, or with a shorter message.";
    default: return answer.status >= 500 ? `Something went wrong in the service (${answer.status}); it was not your message.` : `The service did not take this: ${told.error || answer.status}.`;
  }
}

function complain(fault) {
  if (!(fault instanceof Trouble)) throw fault;
  $("trouble").textContent = fault.message;
  $("trouble").hidden = false;
}

/** The facts of the version that answered; null when it is not the live one, as in a trial. */
async function modelOf(version) {
  if (state.model?.version !== version) state.model = await ask("model");
  $("live").textContent = state.model.version;
  return state.model.version === version ? state.model : null;
}

async function submit(event) {
  event.preventDefault();
  const text = $("text").value;
  if (!text.trim()) {
    $("text").focus();
    return;
  }
  $("trouble").hidden = true;
  busy(true);
  try {
    const start = performance.now();
    const [said] = (await ask("predict", { text })).predictions;
    const milliseconds = performance.now() - start;
    show(said, await modelOf(said.model_version), milliseconds);
  } catch (fault) {
    complain(fault);
  } finally {
    busy(false);
  }
}

function busy(on) {
  $("go").disabled = on;
  $("go").textContent = on ? "Asking …" : "Ask the model";
  document.body.classList.toggle("busy", on);
}

function show(said, model, milliseconds) {
  const ranked = Object.entries(said.probabilities).sort((one, other) => other[1] - one[1]);
  const decision = said.needs_person ? "A person should read this" : "No person needed";
  $("verdict").className = `verdict ${said.needs_person ? "HOLD" : "PROMOTE"}`;
  $("label").replaceChildren(said.label, element("span", "sure", `${percent(said.confidence)} sure`));
  $("decision").textContent = decision;
  $("why").textContent = why(said, model, ranked[1]);
  bars(ranked, model?.threshold, BARS);
  facts(said, milliseconds);
  feedback(said);
  $("empty").hidden = true;
  $("answer").hidden = false;
  if ($("answer").getBoundingClientRect().top > innerHeight / 2) $("answer").scrollIntoView({ block: "start" });
  $("spoken").textContent = `${said.label}, ${percent(said.confidence)} sure. ${decision}.`;
}

function why(said, model, second) {
  const next = second ? ` Its second choice is ${second[0]}, with ${percent(second[1])}.` : "";
  if (!model) return `Version ${said.model_version}, which is on trial, answered and drew the line by its own measure.${next}`;
  const [sure, line] = apart(said.confidence, model.threshold);
  const { rows, accuracy, answered } = model.metrics;
  const right = answered.accuracy && `${percent(answered.accuracy.value)} (${percent(answered.accuracy.low)} to ${percent(answered.accuracy.high)})`;
  if (!said.needs_person) {
    const record = right ? ` On ${rows.toLocaleString("en")} messages it had never seen, ${percent(answered.coverage.value, 0)} were on this side of the line, and ${right} of those answers were right.` : "";
    return `It is ${sure} sure, and from ${line} on it answers by itself.${record}${next}`;
  }
  const covered = answered.coverage.value;
  const below = covered < 1 && (accuracy.value - covered * (answered.accuracy?.value ?? 0)) / (1 - covered);
  const record = right ? ` On ${rows.toLocaleString("en")} messages it had never seen, ${right} of the answers above that line were right, and about ${percent(below, 0)} below it.` : "";
  return `It is ${sure} sure, and below ${line} it does not answer by itself.${record}${next}`;
}

function bars(ranked, threshold, most) {
  const rows = ranked.slice(0, most).map(([label, share], place) => {
    const bar = element("span", "bar", element("i"));
    bar.setAttribute("aria-hidden", "true");
    bar.firstChild.style.width = percent(share, 2);
    if (threshold !== undefined && place === 0) {
      const line = element("b", "", "");
      line.style.left = percent(threshold, 2);
      line.title = `from ${percent(threshold)} on it answers by itself`;
      bar.append(line);
    }
    return element("li", place ? "" : "first", element("span", "name", label), bar, element("span", "share", percent(share)));
  });
  $("bars").replaceChildren(...rows);
  const hidden = ranked.length - most;
  $("more").hidden = hidden <= 0;
  $("more").textContent = `Show the other ${hidden} labels`;
  $("more").onclick = () => bars(ranked, threshold, ranked.length);
}

function facts(said, milliseconds) {
  const told = { Version: said.model_version, "Answered in": `${Math.max(1, Math.round(milliseconds))} ms, there and back`, Request: said.request_id };
  $("facts").replaceChildren(...Object.entries(told).flatMap(([name, value]) => [element("dt", "", name), element("dd", "", name === "Answered in" ? value : element("code", "", value))]));
}

function feedback(said) {
  state.request = said.request_id;
  const options = Object.keys(said.probabilities).map((label) => new Option(label, label, label === said.label, label === said.label));
  $("right").replaceChildren(...options);
  $("send").disabled = false;
  $("thanks").textContent = "The label you send is kept beside the answer, and shows how good the model is on real messages.";
}

const THANKS = {
  recorded: "Recorded. Thank you.",
  "already recorded": "That was on record already. Thank you.",
  corrected: "Corrected: this label replaces the one you sent before.",
};

async function tell(event) {
  event.preventDefault();
  $("send").disabled = true;
  try {
    const told = await ask("feedback", { request_id: state.request, label: $("right").value });
    $("thanks").textContent = THANKS[told.status] || told.status;
  } catch (fault) {
    if (!(fault instanceof Trouble)) throw fault;
    $("thanks").textContent = fault.message;
  } finally {
    $("send").disabled = false;
  }
}

$("ask").addEventListener("submit", submit);
$("tell").addEventListener("submit", tell);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
});
for (const sample of document.querySelectorAll(".sample")) {
  sample.addEventListener("click", () => {
    $("text").value = sample.dataset.text;
    $("ask").requestSubmit();
  });
}
