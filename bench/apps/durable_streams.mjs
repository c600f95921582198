// The Durable Streams Node server, in memory, as its own documentation starts it.
import { DurableStreamTestServer } from "@durable-streams/server";

const server = new DurableStreamTestServer({ port: Number(process.argv[2]), host: "127.0.0.1", compression: false });
await server.start();
process.on("SIGTERM", () => process.exit(0));
