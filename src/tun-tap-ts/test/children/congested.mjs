/** Runs in a namespace whose eth0 is a plain TAP; sends to a silent neighbour, then to a known one. */
import { openUdp, PacketIo } from "../../dist/index.js";

const io = new PacketIo({ onBatch: () => 0, onPortError() {} });

/** Sends frames to 10.77.0.`host`; the lengths fall by `step`, so that 0 lets the addon use UDP_SEGMENT. */
function send(port, host, count, lengthBytes, step) {
  for (let i = 0; i < count; i++)
    io.tx.set([port, io.scratchStart + 20, lengthBytes - i * step, 0x0a4d0000 + host, 9], i * 5);
  io.flush(count);
}

// Nobody answers ARP for .99: packets stay charged to the socket until its buffer is full.
const small = openUdp({ address: "10.77.0.1", port: 0, sndbufBytes: 4608 });
const smallPort = io.addUdp(small);
send(smallPort, 99, 200, 1400, 1);
const { txFrames, txDropped, txErrors } = io.ioStats(smallPort);
const udp = openUdp({ address: "10.77.0.1", port: 0 });
const port = io.addUdp(udp);
// Longer than the MTU: UDP_SEGMENT is refused. Then a length that the missing checksum offload may refuse.
send(port, 2, 3, 2000, 0);
send(port, 2, 3, 1000, 0);
console.log(JSON.stringify({ silent: [txFrames, txDropped, txErrors], known: io.ioStats(port) }));
io.close();
small.close();
udp.close();
