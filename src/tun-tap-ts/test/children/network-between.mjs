/** Runs in a namespace with an address 10.77.1.1 and a neighbour in another one; arguments: that one's name, a whole super-packet. */
import { execFileSync } from "node:child_process";
import { openUdp, PacketIo } from "../../dist/index.js";

const [far, datagram] = process.argv.slice(2);
const io = new PacketIo({ onBatch: () => 0, onPortError() {} });
const udp = openUdp({ address: "10.77.1.1", port: 0, gro: true, merge: true });
const port = io.addUdp(udp);

const bits = (address) => address.split(".").reduce((sum, part) => (sum << 8) | Number(part), 0);
const peers = ["10.77.1.2", "10.77.1.1", "127.0.0.1", "192.0.2.1"];
const sends = Object.fromEntries(peers.map((peer) => [peer, io.sendWhole(bits(peer), true)]));

/** Sends the datagram to our port; resolves when it was counted. */
async function arrival(program, ...before) {
  const { rxFrames, rxErrors } = io.ioStats(port);
  const script = `require("dgram").createSocket("udp4").send(Buffer.from("${datagram}", "base64"), ${udp.port}, "10.77.1.1", () => process.exit())`;
  execFileSync(program, [...before, process.execPath, "-e", script]);
  for (let i = 0; i < 1000; i++) {
    const now = io.ioStats(port);
    if (now.rxFrames + now.rxErrors > rxFrames + rxErrors)
      return { rxFrames: now.rxFrames, rxErrors: now.rxErrors };
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("the datagram did not arrive");
}

const refused = await arrival("ip", "netns", "exec", far);
const taken = await arrival("env");
console.log(JSON.stringify({ sends, refused, taken }));
io.close();
udp.close();
