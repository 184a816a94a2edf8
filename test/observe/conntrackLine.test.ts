import { expect, it } from "vitest";
import type { ConntrackRecord } from "../../src/datapath/index.js";
import { formatConntrackLine } from "../../src/observe/index.js";
import { IcmpType, IpProtocol } from "../../src/wire/index.js";
import { tuple } from "./samples.js";

const counted = { originalPackets: 6, originalBytes: 412, replyPackets: 5, replyBytes: 617 };
const fresh = { originalPackets: 1, originalBytes: 71, replyPackets: 0, replyBytes: 0 };
const { icmp, tcp, udp } = IpProtocol;

const records: ConntrackRecord[] = [
  {
    ...{
      protocol: tcp,
      timeoutSeconds: 431999,
      state: "ESTABLISHED",
      ...counted,
      unreplied: false,
      assured: true,
    },
    original: tuple(tcp, "10.0.0.1", 51234, "10.0.0.12", 30001),
    reply: tuple(tcp, "172.16.3.2", 8080, "172.16.2.0", 51234),
  },
  {
    ...{ protocol: tcp, timeoutSeconds: 119, state: "SYN_SENT", ...fresh, unreplied: true, assured: false },
    original: tuple(tcp, "172.16.2.5", 40000, "10.254.0.20", 80),
    reply: tuple(tcp, "172.16.3.2", 8080, "172.16.2.5", 40000),
  },
  {
    ...{ protocol: udp, timeoutSeconds: 29, ...fresh, unreplied: true, assured: false },
    original: tuple(udp, "10.12.0.14", 43145, "10.15.240.10", 53),
    reply: tuple(udp, "10.12.0.11", 53, "10.12.0.14", 43145),
  },
  {
    ...{ protocol: icmp, timeoutSeconds: 30, ...counted, unreplied: false, assured: false },
    original: tuple(icmp, "172.16.2.5", 77, "10.0.0.1", IcmpType.echoRequest << 8),
    reply: tuple(icmp, "10.0.0.1", 1024, "10.0.0.11", IcmpType.echoReply << 8),
  },
  {
    ...{ protocol: 47, timeoutSeconds: 599, ...fresh, unreplied: true, assured: false },
    original: tuple(47, "172.16.2.5", 0, "172.16.3.2", 0),
    reply: tuple(47, "172.16.3.2", 0, "172.16.2.5", 0),
  },
];

it("conntrack lines read as the golden text", async () => {
  const text = `${records.map(formatConntrackLine).join("\n")}\n`;
  await expect(text).toMatchFileSnapshot("golden/conntrack.txt");
});
