// What a viewer has seen, as text on the screen. Only text nodes: nothing a producer writes is ever markup.

const STICKY_PIXELS = 48;

export class Transcript {
  constructor(root) {
    this.root = root;
    this.clear();
  }

  clear() {
    this.root.replaceChildren();
    this.run = null;
    this.node = null;
    this.pending = [];
    this.scheduled = false;
    this.chars = 0;
    this.hash = 0x811c9dc5;
  }

  hint(text) {
    const p = document.createElement("p");
    p.className = "hint";
    p.textContent = text;
    this.root.replaceChildren(p);
  }

  begin(label) {
    this.flush();
    this.root.querySelector(".hint")?.remove();
    this.run = document.createElement("div");
    this.run.className = "run";
    this.node = null;
    this.root.append(this.run);
    if (label) this.mark(label, "", true);
  }

  // Text is collected and put on screen once a frame: a fast answer must not cost a layout per token.
  text(data) {
    this.chars += data.length;
    for (let i = 0; i < data.length; i++) this.hash = Math.imul(this.hash ^ data.charCodeAt(i), 0x01000193) >>> 0;
    this.pending.push(data);
    if (!this.scheduled) {
      this.scheduled = true;
      requestAnimationFrame(() => this.flush());
      setTimeout(() => this.flush(), 250); // a tab in the background gets no frames
    }
  }

  flush() {
    this.scheduled = false;
    if (!this.pending.length) return;
    const text = this.pending.join("");
    this.pending = [];
    this.keepingPlace(() => {
      if (!this.run) this.begin();
      if (this.node) this.node.appendData(text);
      else this.run.append((this.node = document.createTextNode(text)));
    });
  }

  mark(text, tone = "", block = false) {
    this.flush();
    if (!this.run) this.begin();
    this.keepingPlace(() => {
      const span = document.createElement("span");
      span.className = block ? "mark block" : "mark";
      if (tone) span.dataset.tone = tone;
      span.textContent = text;
      this.run.append(span);
      this.node = null;
    });
  }

  // A reset voids what the run said; it stays readable, struck out, until the run's next words.
  reset() {
    this.flush();
    this.run?.classList.add("void");
    this.begin();
    this.chars = 0;
    this.hash = 0x811c9dc5;
  }

  keepingPlace(change) {
    const { root } = this;
    const atEnd = root.scrollHeight - root.scrollTop - root.clientHeight < STICKY_PIXELS;
    change();
    if (atEnd) root.scrollTop = root.scrollHeight;
  }
}
