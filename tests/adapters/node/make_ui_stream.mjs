// Prints the HTTP body of a UI message stream that the AI SDK makes: an answer, or one that fails.
import { createUIMessageStream, createUIMessageStreamResponse } from "ai";

const fails = process.argv[2] === "error";
const stream = createUIMessageStream({
  execute({ writer }) {
    writer.write({ type: "start", messageId: "m-1" });
    writer.write({ type: "text-start", id: "t" });
    for (const delta of ["Grüße", ", ", "世界"]) writer.write({ type: "text-delta", id: "t", delta });
    writer.write({ type: "text-end", id: "t" });
    writer.write({ type: "data-weather", id: "w", data: { city: "Ulm" } });
    if (fails) throw new Error("hidden");
    writer.write({ type: "finish", finishReason: "stop" });
  },
  onError: () => "no luck",
});
process.stdout.write(await createUIMessageStreamResponse({ stream }).text());
