/** An exception in onBatch is an uncaught exception, the engine goes on; the process ends once it is closed. */
import { openUdp, PacketIo } from "../../dist/index.js";

const udp = openUdp({ address: "127.0.0.1", port: 0 });
const errors = [];
const seen = [];
const io = new PacketIo({
  onBatch(count) {
    seen.push(count);
    // Were this sent after the throw, there would be one more datagram.
    io.tx.set([port, io.rx[1], io.rx[2], io.rx[3], io.rx[4]]);
    if (seen.length < 3) throw new Error(`thrown ${seen.length}`);
    io.close();
    udp.close();
    console.log(JSON.stringify({ seen, errors }));
    return 1;
  },
  onPortError() {},
});
const port = io.addUdp(udp);
const send = () => {
  io.arena.fill(0, io.scratchStart, io.scratchStart + 100);
  io.tx.set([port, io.scratchStart + 20, 8, 0x7f000001, udp.port]);
  io.flush(1);
};
process.on("uncaughtException", (error) => {
  errors.push(error.message);
  send();
});
send();
