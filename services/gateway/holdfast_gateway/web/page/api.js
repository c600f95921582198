// The gateway's HTTP interface, as the page uses it. Every failure becomes an Error with the problem's own words.

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Error("The gateway does not answer. If it was stopped, start it again: the viewers go on by themselves.");
  }
  if (answer.status === 204) return null;
  let body = null;
  try {
    body = await answer.json();
  } catch {
    if (answer.ok) return null;
  }
  if (!answer.ok) {
    const error = new Error(body?.detail ?? body?.title ?? `The gateway answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return body;
}

const at = (session) => encodeURIComponent(session);

export const ready = () => ask("/readyz");
export const capabilities = () => ask("/dev/");
export const state = (session) => ask(`/v1/sessions/${at(session)}`);
export const cancel = (session) => ask(`/v1/sessions/${at(session)}/cancel?reason=stopped+on+the+page`, { method: "POST" });
export const startAnswer = (body) =>
  ask("/dev/answers", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
export const signalProducer = (session, signal) =>
  ask(`/dev/answers/${at(session)}/${signal}`, { method: "POST" });

export function streamUrl(session, { follow, snapshot, cursor }) {
  const query = new URLSearchParams();
  if (follow) query.set("follow", "true");
  if (snapshot) query.set("snapshot", "true");
  if (cursor) query.set("last_event_id", cursor);
  query.set("wait", "60");
  return `/v1/sessions/${at(session)}/events?${query}`;
}
