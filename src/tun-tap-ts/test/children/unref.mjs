/** Ends although a PacketIo is open: once by unref, once because its worker is terminated. */
import { isMainThread, Worker } from "node:worker_threads";
import { openUdp, PacketIo } from "../../dist/index.js";

const udp = openUdp({ address: "127.0.0.1", port: 0 });
const io = new PacketIo({ onBatch: () => 0, onPortError() {} });
io.addUdp(udp);
if (isMainThread) {
  io.unref();
  io.ref();
  io.unref();
  const worker = new Worker(new URL(import.meta.url));
  worker.once("online", () =>
    setTimeout(() => worker.terminate().then((code) => console.log("worker", code)), 100),
  );
}
