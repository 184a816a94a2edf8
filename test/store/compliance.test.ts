import { rmSync } from "node:fs";
import { connectStore, MemoryStore, startStoreServer } from "../../src/store/index.js";
import { storeCompliance } from "./compliance.js";
import { tempDir } from "./temp.js";
import { VirtualClock } from "./virtual-clock.js";

storeCompliance("in-memory store", async () => {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  return { store, advance: (ms) => clock.advance(ms), close: () => store.close() };
});

storeCompliance("embedded server, durable, over a Unix socket", async () => {
  const dir = tempDir();
  const clock = new VirtualClock();
  const server = await startStoreServer({ dir, listen: [`unix:${dir}/store.sock`], clock });
  const store = connectStore({ endpoints: server.endpoints });
  const close = async () => {
    await store.close();
    await server.close();
    rmSync(dir, { recursive: true });
  };
  return { store, advance: (ms) => clock.advance(ms), close };
});

storeCompliance("embedded server, in memory, over TCP", async () => {
  const clock = new VirtualClock();
  const server = await startStoreServer({ listen: ["127.0.0.1:0"], clock });
  const store = connectStore({ endpoints: server.endpoints });
  const close = async () => {
    await store.close();
    await server.close();
  };
  return { store, advance: (ms) => clock.advance(ms), close };
});
