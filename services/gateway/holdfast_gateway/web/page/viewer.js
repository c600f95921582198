// One pane: one EventSource of the browser's own, and everything it tells.

import { state, streamUrl } from "./api.js";
import { Transcript } from "./transcript.js";

const CONTROLS = ["start", "end", "failed", "cancelled", "reset", "snapshot", "gap", "producer"];
const LOG_LINES = 200;
const REASONS = {
  producer_lost: "its producer died",
  producer_stopped: "its producer was stopped",
  superseded: "another run took over",
  erased: "it was erased",
  idle: "its producer fell silent",
};

export class Viewer {
  constructor(element, number, options, changed) {
    this.element = element;
    this.number = number;
    this.changed = changed;
    this.find = (selector) => element.querySelector(selector);
    this.transcript = new Transcript(this.find(".out"));
    this.session = null;
    this.source = null;
    this.find(".which").textContent = `${number}`;
    this.find(".follow").checked = options.follow;
    this.find(".snapshot").checked = options.snapshot;
    this.find(".cut").addEventListener("click", () => (this.source ? this.cut() : this.resume()));
    this.find(".again").addEventListener("click", () => this.open(this.session));
    this.find(".follow").addEventListener("change", () => this.reconnect());
    this.find(".snapshot").addEventListener("change", () => this.open(this.session));
    this.show("idle", "", "no session");
  }

  get follow() { return this.find(".follow").checked; }
  get snapshot() { return this.find(".snapshot").checked; }
  get fingerprint() { return `${this.transcript.chars}:${this.transcript.hash}`; }

  // From the start (or a snapshot): what a new viewer gets.
  open(session) {
    this.close();
    this.session = session;
    Object.assign(this, { cursor: "", events: 0, gaps: 0, connections: 0, over: false, joined: false });
    this.transcript.clear();
    this.find(".log ol").replaceChildren();
    this.find(".session").textContent = session ?? "";
    this.find(".session").title = session ?? "";
    if (session) this.connect();
    this.facts();
  }

  connect() {
    const source = new EventSource(streamUrl(this.session, this));
    this.source = source;
    this.connections += 1;
    if (!this.transcript.run) this.transcript.hint("Waiting for the first words.");
    this.show(this.connections > 1 ? "resuming" : "waiting", "wait");
    source.onopen = () => {
      if (this.reopening) this.connections += 1;
      this.reopening = false;
      this.note(this.cursor ? `connected, from ${this.cursor}` : "connected");
      if (!this.over) this.show("live", "live");
      this.facts();
    };
    source.onerror = () => this.lostConnection(source);
    source.onmessage = (message) => this.took(message, () => this.data(message.data));
    for (const name of CONTROLS) {
      source.addEventListener(`session.${name}`, (message) => this.took(message, () => this[`told_${name}`](JSON.parse(message.data)), name));
    }
  }

  took(message, act, name) {
    // `session.gap` and `session.producer` carry no id: lastEventId is then still the one before.
    if (message.lastEventId) this.cursor = message.lastEventId;
    this.events += 1;
    if (name) this.note(`session.${name} ${name === "snapshot" ? `${message.data.length} characters` : message.data}`);
    act();
    this.facts();
  }

  data(text) {
    if (this.over) this.began();
    this.transcript.text(text);
  }

  began(label) {
    this.over = false;
    this.transcript.begin(label);
    this.show("live", "live");
  }

  told_start({ run, name }) { this.began(name ? `run ${run}, ${name}` : `run ${run}`); }
  told_end({ result }) {
    this.finished("ended", "good", result === undefined ? "the end" : `the end: ${JSON.stringify(result)}`);
  }
  told_failed({ reason, message }) {
    this.finished("failed", "bad", `failed: ${REASONS[reason] ?? message ?? reason}`);
  }
  told_cancelled({ reason }) { this.finished("stopped", "wait", reason ? `stopped: ${reason}` : "stopped"); }
  told_reset() { this.transcript.reset(); }
  told_gap({ reason, earliest }) {
    this.gaps += 1;
    this.transcript.mark(`gap: ${reason}${earliest ? `, goes on at ${earliest}` : ""}`, "bad");
  }
  told_producer({ state: what }) {
    const lost = what === "lost";
    this.transcript.mark(lost ? "the producer has fallen silent" : "the producer is back", lost ? "wait" : "good");
    this.show(lost ? "producer lost" : "live", lost ? "wait" : "live");
  }
  told_snapshot({ parts, incomplete }) {
    this.transcript.clear();
    this.began("snapshot: what was said so far");
    if (incomplete) this.transcript.mark("its beginning is gone", "bad");
    for (const part of parts) if (part.event === "message") this.transcript.text(part.data);
  }

  finished(text, tone, label) {
    this.over = true;
    this.transcript.mark(label, tone, true);
    this.outcome = [text, tone];
    this.show(text, tone);
  }

  // EventSource comes back by itself, with the last id; CLOSED means that it was told to stop (204) or gave up (404).
  async lostConnection(source) {
    if (source !== this.source) return;
    if (source.readyState !== EventSource.CLOSED) {
      this.reopening = true;
      if (!this.over) {
        this.note("connection gone; the browser comes back by itself");
        this.show("reconnecting", "wait");
      }
      return;
    }
    this.source = null;
    if (this.over) {
      this.note("nothing left: the stream is over");
      this.show(...this.outcome);
    } else {
      await this.why();
    }
    this.facts();
  }

  async why() {
    try {
      const { status } = await state(this.session);
      this.note(`the stream is closed; the session is ${status}`);
      this.show(status, status === "ended" ? "good" : "wait");
    } catch (error) {
      this.note(error.message);
      this.transcript.hint(error.status === 404 ? "Nothing has been said in this session yet." : error.message);
      this.show(error.status === 404 ? "no such session" : "closed", "bad");
    }
  }

  cut() {
    this.source?.close();
    this.source = null;
    this.note(`cut at ${this.cursor || "the start"}`);
    this.show("cut", "bad");
    this.facts();
  }

  resume() {
    if (!this.session) return;
    this.note(`resuming from ${this.cursor || "the start"}`);
    this.connect();
    this.facts();
  }

  reconnect() {
    if (!this.session) return;
    this.source?.close();
    this.connect();
    this.changed(this);
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  show(text, tone, hint) {
    const badge = this.find(".state");
    badge.dataset.tone = tone;
    this.find(".state-text").textContent = text;
    this.find(".out").classList.toggle("live", tone === "live" && !this.over);
    const cut = this.find(".cut");
    cut.textContent = this.source ? "Cut" : "Resume";
    cut.disabled = !this.session;
    this.find(".again").disabled = !this.session;
    if (hint) this.transcript.hint("Start an answer, and it appears here.");
  }

  facts() {
    const put = (selector, value) => (this.find(selector).textContent = value);
    put(".cursor", this.cursor || "none yet");
    put(".count", (this.events ?? 0).toLocaleString("en"));
    put(".chars", this.transcript.chars.toLocaleString("en"));
    put(".connections", this.connections ?? 0);
    put(".gaps", this.gaps ?? 0);
    this.find(".gaps").classList.toggle("some", this.gaps > 0);
    this.find(".cut").textContent = this.source ? "Cut" : "Resume";
    this.changed(this);
  }

  note(text) {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = new Date().toLocaleTimeString("en-GB");
    item.append(time, document.createTextNode(text));
    const list = this.find(".log ol");
    list.append(item);
    if (list.childElementCount > LOG_LINES) list.firstElementChild.remove();
    list.scrollTop = list.scrollHeight;
  }
}
