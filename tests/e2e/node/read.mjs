// The npm package `eventsource` as a viewer: prints each event as a line of JSON, ends when the run has ended.
// usage: node read.mjs URL
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
let opened = 0;
const tell = (event) => console.log(JSON.stringify({ event: event.type, data: event.data, id: event.lastEventId }));

source.onopen = () => (opened += 1);
source.onmessage = tell;
for (const name of ["start", "end", "failed", "cancelled", "gap", "producer"]) source.addEventListener(`session.${name}`, tell);
for (const name of ["end", "failed", "cancelled"]) {
  source.addEventListener(`session.${name}`, () => {
    source.close();
    console.log(JSON.stringify({ event: "closed", data: String(opened), id: "" }));
  });
}
