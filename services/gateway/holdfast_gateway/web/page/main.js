// The page: starts answers, and shows up to four viewers of them.

import * as api from "./api.js";
import { SAMPLE } from "./sample.js";
import { Viewer } from "./viewer.js";

const MOST_VIEWERS = 4; // a browser opens six connections to an origin over HTTP/1.1; two are left for requests
const HEALTH_MILLISECONDS = 3000;
const MOST_TEXT_BYTES = 1 << 20;

const $ = (id) => document.getElementById(id);
const viewers = [];
let source = "text";

// ------------------------------------------------------------------------------------------------- viewers

function addViewer(options = { follow: true, snapshot: false }) {
  if (viewers.length >= MOST_VIEWERS) return null;
  const element = $("pane").content.firstElementChild.cloneNode(true);
  const taken = new Set(viewers.map((viewer) => viewer.number));
  let number = 1;
  while (taken.has(number)) number += 1;
  element.querySelector(".log").open = viewers.length < 2 && matchMedia("(min-width: 901px)").matches;
  $("panes").append(element);
  const viewer = new Viewer(element, number, options, changed);
  viewers.push(viewer);
  viewer.find(".close").addEventListener("click", () => {
    viewer.close();
    viewers.splice(viewers.indexOf(viewer), 1);
    element.remove();
    arrange();
  });
  arrange();
  return viewer;
}

function arrange() {
  $("add").disabled = viewers.length >= MOST_VIEWERS;
  for (const viewer of viewers) {
    viewer.find(".out").classList.toggle("tall", viewers.length <= 2);
    viewer.find(".close").disabled = viewers.length === 1;
  }
  changed();
}

let agreeing = false;
function changed() {
  if (agreeing) return;
  agreeing = true;
  requestAnimationFrame(() => {
    agreeing = false;
    agree();
    remember();
  });
}

// Viewers of one session that have the same characters in the same order: said in so many words.
function agree() {
  const line = $("agree");
  const open = viewers.filter((viewer) => viewer.session && viewer.events > 0);
  if (open.length < 2) {
    line.textContent = "";
    return;
  }
  const most = open.reduce((one, other) => (other.transcript.chars > one.transcript.chars ? other : one));
  const others = open.filter((viewer) => viewer.fingerprint !== most.fingerprint);
  const shown = (viewer) => viewer.transcript.chars.toLocaleString("en");
  line.dataset.tone = others.length ? "wait" : "good";
  line.textContent = others.length
    ? `Viewer ${others[0].number} has ${shown(others[0])} of ${shown(most)} characters.`
    : `All ${open.length} have the same ${shown(most)} characters.`;
}

// The address and this tab remember the session and the viewers, so that a reload comes back to them.
function remember() {
  const session = $("session").value;
  const layout = viewers.map(({ follow, snapshot }) => ({ follow, snapshot }));
  sessionStorage.setItem("holdfast", JSON.stringify({ layout, rate: $("rate").value }));
  const shown = viewers.find((viewer) => viewer.session)?.session;
  if (shown && location.hash.slice(1) !== shown) history.replaceState(null, "", `#${shown}`);
  $("second-tab").href = `/#${shown ?? session}`;
}

// ------------------------------------------------------------------------------------------------- producing

function say(text, tone = "") {
  $("note").textContent = text;
  $("note").dataset.tone = tone;
}

async function doing(button, act) {
  button.disabled = true;
  try {
    await act();
  } catch (error) {
    say(error.message, "bad");
  } finally {
    button.disabled = false;
  }
}

function watchAll(session) {
  for (const viewer of viewers) if (viewer.session !== session || !viewer.source || !viewer.follow) viewer.open(session);
}

async function begin() {
  const session = $("session").value.trim();
  const rate = Number($("rate").value);
  const body = source === "text" ? { session, rate, text: $("text").value } : { session, prompt: $("prompt").value };
  watchAll(session);
  const { pid } = await api.startAnswer(body);
  say(`Process ${pid} is the producer. It writes to the log; the gateway only reads it.`);
  setFrozen(false);
}

let frozen = false;
function setFrozen(value) {
  frozen = value;
  $("freeze").textContent = frozen ? "Thaw it" : "Freeze it";
}

async function signal(what, told) {
  const { pid } = await api.signalProducer($("session").value.trim(), what);
  say(`Process ${pid} ${told}`);
}

function takeFile(file) {
  if (!file) return;
  if (file.size > MOST_TEXT_BYTES) {
    say(`${file.name} is larger than a mebibyte; the page takes up to that.`, "bad");
    return;
  }
  file.text().then((text) => {
    $("text").value = text;
    say(`${file.name}: ${text.length.toLocaleString("en")} characters.`);
  });
}

function choose(which) {
  source = which;
  for (const name of ["text", "model"]) {
    $(`tab-${name}`).setAttribute("aria-selected", String(name === which));
    $(`${name}-source`).hidden = name !== which;
  }
  $("rate-field").hidden = which === "model";
}

function wire() {
  $("start-form").addEventListener("submit", (event) => {
    event.preventDefault();
    doing($("start"), begin);
  });
  $("stop").addEventListener("click", () =>
    doing($("stop"), async () => {
      const { outcome } = await api.cancel($("session").value.trim());
      say(outcome === "cancelled" ? "Stopped. What was said stays, for everyone." : "It was over already.");
    }));
  $("kill").addEventListener("click", () =>
    doing($("kill"), async () => {
      await signal("kill", "was killed. Its viewers are told when its heartbeats are missed, and the run is closed.");
      setFrozen(false);
    }));
  $("freeze").addEventListener("click", () =>
    doing($("freeze"), async () => {
      await signal(frozen ? "thaw" : "freeze", frozen ? "goes on." : "is frozen.");
      setFrozen(!frozen);
    }));
  $("rate").addEventListener("input", () => ($("rate-shown").textContent = $("rate").value));
  $("file").addEventListener("change", () => takeFile($("file").files[0]));
  $("session").addEventListener("change", () => {
    if ($("session").checkValidity()) for (const viewer of viewers) viewer.open($("session").value.trim());
  });
  $("tab-text").addEventListener("click", () => choose("text"));
  $("tab-model").addEventListener("click", () => choose("model"));
  $("add").addEventListener("click", () => {
    const session = viewers.find((viewer) => viewer.session)?.session;
    const viewer = addViewer();
    if (session) viewer?.open(session);
  });
  addEventListener("hashchange", () => {
    const session = location.hash.slice(1);
    if (session && $("session").value !== session) {
      $("session").value = session;
      for (const viewer of viewers) viewer.open(session);
    }
  });
}

// ------------------------------------------------------------------------------------------------- the gateway

async function health() {
  const show = (tone, text) => {
    $("health").dataset.tone = tone;
    $("health-text").textContent = text;
  };
  try {
    const { viewers: count } = await api.ready();
    show("good", `gateway ready, ${count} ${count === 1 ? "viewer" : "viewers"}`);
  } catch (error) {
    show("bad", error.status === 503 ? "broker away" : "gateway away");
  }
}

async function composer() {
  try {
    const { model } = await api.capabilities();
    if (model) {
      $("sources").hidden = false;
      $("model-name").textContent = model;
    }
  } catch (error) {
    // A gateway that is not in dev mode starts no producers: the page is then for watching alone.
    if (error.status === 404) {
      $("start-fields").hidden = true;
      for (const id of ["start", "kill", "freeze", "rate-field"]) $(id).hidden = true;
      $("composer-title").textContent = "Session";
    }
  }
}

function restore() {
  let kept = {};
  try {
    kept = JSON.parse(sessionStorage.getItem("holdfast")) ?? {};
  } catch {
    // Somebody else's value under our name: start afresh.
  }
  const session = decodeURIComponent(location.hash.slice(1));
  const fresh = `chat-${Math.random().toString(36).slice(2, 6)}`;
  $("session").value = /^[A-Za-z0-9_-]{1,128}$/.test(session) ? session : fresh;
  $("text").value = SAMPLE;
  if (kept.rate) $("rate").value = $("rate-shown").textContent = kept.rate;
  const layout = kept.layout?.length ? kept.layout : [{ follow: true, snapshot: false }, { follow: true, snapshot: true }];
  for (const options of layout.slice(0, MOST_VIEWERS)) {
    const viewer = addViewer(options);
    if (session) viewer?.open($("session").value);
  }
}

wire();
restore();
composer();
health();
setTimeout(health, HEALTH_MILLISECONDS / 3);
setInterval(health, HEALTH_MILLISECONDS);
