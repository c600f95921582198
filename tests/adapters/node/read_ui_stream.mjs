// Reads server-sent events of UI message chunks on stdin with the AI SDK's own transport and parser, as useChat does,
// and prints the message that a front end would show.
import { DefaultChatTransport, readUIMessageStream } from "ai";

class FromBody extends DefaultChatTransport {
  read(body) {
    return this.processResponseStream(body);
  }
}

const pieces = [];
for await (const piece of process.stdin) pieces.push(piece);
const body = new ReadableStream({
  start(controller) {
    for (const piece of pieces) controller.enqueue(new Uint8Array(piece));
    controller.close();
  },
});
const errors = [];
let message = null;
for await (const state of readUIMessageStream({
  stream: new FromBody({ api: "/" }).read(body),
  onError: (e) => errors.push(String(e)),
  terminateOnError: false,
})) {
  message = state;
}
process.stdout.write(JSON.stringify({ message, errors }));
