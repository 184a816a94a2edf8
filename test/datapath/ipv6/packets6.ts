/** A node for the tests, and packets that several of them send. */
import { IpProtocol, Ipv6Next, setU16, TcpFlag, writeIpv6Fragment } from "../../../src/wire/index.js";
import * as v6 from "./harness6.js";

export const syn = (src: bigint, dst: bigint, sport = 40000, dport = 80) =>
  v6.tcp6({ src, dst, sport, dport, flags: TcpFlag.syn });

/** A node that knows the machine's MAC already. */
export function node(options: ConstructorParameters<typeof v6.Harness6>[0] = {}): v6.Harness6 {
  const harness = new v6.Harness6(options);
  harness.learnHost();
  return harness;
}

/** An ICMPv6 error about a packet, written by hand. */
export function errorAbout(
  packet: Uint8Array,
  src: bigint,
  dst: bigint,
  type: number,
  code: number,
  rest: number,
): Uint8Array {
  const quoted = packet.slice(0, 1232);
  const bytes = v6.echo6({
    ...v6.ends(src, dst),
    icmpId: rest >>> 16,
    icmpSeq: rest & 0xffff,
    payload: quoted,
  });
  const sum = bytes[42] * 256 + bytes[43] + 0x8000 + (0xffff - (type * 256 + code));
  bytes[40] = type;
  bytes[41] = code;
  setU16(bytes, 42, (sum & 0xffff) + (sum >>> 16));
  return bytes;
}

/** A datagram of 1300 bytes from pod A to the Service's port 53, in two fragments. */
export function fragments(id: number): [Uint8Array, Uint8Array] {
  const whole = v6.udp6({
    ...v6.ends(v6.POD_A, v6.VIP),
    sport: 4000,
    dport: 53,
    payload: new Uint8Array(1300),
  });
  const piece = (offset: number, end: number) => {
    const header = new Uint8Array(8);
    writeIpv6Fragment(header, 0, IpProtocol.udp, offset, end < whole.length - 40, id);
    const bytes = Uint8Array.from([...whole.slice(0, 40), ...header, ...whole.slice(40 + offset, 40 + end)]);
    bytes[6] = Ipv6Next.fragment;
    setU16(bytes, 4, bytes.length - 40);
    return bytes;
  };
  return [piece(0, 1208), piece(1208, whole.length - 40)];
}
