/** Two namespaces whose packets go through two PacketIo and UDP on loopback, as through an overlay. */
import { Field, FRAME_STRIDE, openUdp, PacketIo, type PortStats } from "../src/index.js";
import { ip, type Lab } from "./lab.js";

const MTU_BYTES = "1472";
const BUFFER_BYTES = 1 << 23;

export interface TunnelEnd {
  readonly ns: string;
  readonly address: string;
  /** Counters of the socket between the two. */
  udpStats(): PortStats;
}

/** @param whole super-packets are not cut on the way */
export function tunnel(lab: Lab, { whole = false } = {}): [TunnelEnd, TunnelEnd] {
  const sides = [1, 2].map((n) => {
    const { tap, ns } = lab.host(`10.77.0.${n}/24`, { mode: "tun", vnetHdr: true });
    ip("-n", ns, "link", "set", "eth0", "mtu", MTU_BYTES);
    const udp = openUdp({
      address: `127.0.77.${n}`,
      port: 0,
      gro: true,
      merge: true,
      rcvbufBytes: BUFFER_BYTES,
      sndbufBytes: BUFFER_BYTES,
    });
    lab.later(() => udp.close());
    return { tap, ns, udp, address: `10.77.0.${n}`, underlay: 0x7f004d00 + n };
  });
  const ends = sides.map((side, index) => {
    const peer = sides[1 - index]!;
    const io: PacketIo = new PacketIo({
      onBatch(count) {
        const { rx, tx } = io;
        for (let e = 0; e < count * FRAME_STRIDE; e += FRAME_STRIDE) {
          tx[e + Field.port] = 1 - rx[e + Field.port]!;
          tx[e + Field.offset] = rx[e + Field.offset]!;
          tx[e + Field.length] = rx[e + Field.length]!;
          tx[e + Field.peerAddress] = peer.underlay;
          tx[e + Field.peerPort] = peer.udp.port;
        }
        return count;
      },
      onPortError: (_, error) => {
        throw error;
      },
    });
    lab.later(() => io.close());
    io.addTap(side.tap);
    io.addUdp(side.udp);
    io.sendWhole(peer.underlay, whole);
    return { ns: side.ns, address: side.address, udpStats: () => io.ioStats(1)! };
  });
  return [ends[0]!, ends[1]!];
}
