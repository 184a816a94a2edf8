import { describe, expect, it } from "vitest";
import { readSysctl, SYSCTL_NAMES, writeSysctls } from "../../src/datapath/index.js";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

const P = "net.netfilter.nf_conntrack_";
const ENDS = { src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 80 };

describe("settings of connection tracking under Linux' names", () => {
  it("are Linux' defaults, each once", () => {
    const { conntrack } = new h.Harness().datapath;
    const all = Object.fromEntries(SYSCTL_NAMES.map((name) => [name, readSysctl(conntrack, name)]));
    expect(Object.keys(all)).toHaveLength(30);
    expect(all).toMatchObject({
      [`${P}max`]: 262_144,
      [`${P}count`]: 0,
      [`${P}tcp_timeout_established`]: 432_000,
      [`${P}tcp_timeout_unacknowledged`]: 300,
      [`${P}tcp_loose`]: 1,
      [`${P}tcp_be_liberal`]: 0,
      [`${P}udp_timeout_stream`]: 120,
      [`${P}icmpv6_timeout`]: 30,
      [`${P}sctp_timeout_established`]: 210,
    });
  });

  it("can all be set but two, and are then read as they were set, all others as before", () => {
    for (const name of SYSCTL_NAMES) {
      const { conntrack } = new h.Harness().datapath;
      const others = () =>
        SYSCTL_NAMES.filter((one) => one !== name).map((one) => readSysctl(conntrack, one));
      const before = others();
      const set = () => writeSysctls(conntrack, { [name]: "1" });
      if (name === `${P}count` || name === `${P}buckets`) expect(set).toThrow(`${name} can only be read`);
      else {
        set();
        expect(readSysctl(conntrack, name)).toBe(1);
      }
      expect(others()).toEqual(before);
    }
  });

  it("hold for packets from then on", () => {
    const node = new h.Harness();
    const { conntrack } = node.datapath;
    const timeouts = () => node.datapath.conntrackRecords().map(({ timeoutSeconds }) => timeoutSeconds);
    node.inject(h.Id.podA, h.udp(ENDS));
    writeSysctls(conntrack, { [`${P}udp_timeout`]: "5", [`${P}tcp_loose`]: "0" });
    expect(timeouts()).toEqual([30]);
    node.inject(h.Id.podA, h.udp({ ...ENDS, sport: 2 }));
    expect(timeouts()).toEqual([30, 5]);
    expect(node.inject(h.Id.podA, h.tcp({ ...ENDS, flags: TcpFlag.ack, seq: 5, ack: 6 }))).toEqual([]);
    writeSysctls(conntrack, { [`${P}tcp_loose`]: "1" });
    expect(node.inject(h.Id.podA, h.tcp({ ...ENDS, flags: TcpFlag.ack, seq: 5, ack: 6 }))).toHaveLength(1);
  });

  it("limit the table: a lower max has room made, or refuses", () => {
    const node = new h.Harness({ conntrackMax: 64 });
    const send = (sport: number) => node.inject(h.Id.podA, h.udp({ ...ENDS, sport }));
    for (let sport = 1; sport <= 20; sport++) send(sport);
    writeSysctls(node.datapath.conntrack, { [`${P}max`]: "20" });
    for (let sport = 21; sport <= 40; sport++) send(sport);
    expect(node.datapath.status().conntrack).toMatchObject({ count: 20, max: 20, earlyDrops: 20 });
    writeSysctls(node.datapath.conntrack, { [`${P}max`]: "64" });
    for (let sport = 41; sport <= 60; sport++) send(sport);
    expect(node.datapath.conntrack.count).toBe(40);
  });

  it.each([
    [{ [`${P}udp_timeout`]: "5s" }, `${P}udp_timeout=5s: give a whole number, 1 to 31536000`],
    [{ [`${P}udp_timeout`]: "0" }, `${P}udp_timeout=0: give a whole number, 1 to 31536000`],
    [{ [`${P}udp_timeout`]: "" }, `${P}udp_timeout=: give a whole number, 1 to 31536000`],
    [{ [`${P}tcp_loose`]: "2" }, `${P}tcp_loose=2: give a whole number, 0 to 1`],
    [{ [`${P}tcp_max_retrans`]: "256" }, `${P}tcp_max_retrans=256: give a whole number, 0 to 255`],
    [{ [`${P}max`]: "65" }, `${P}max=65: give a whole number, 1 to 64`],
    [{ udp_timeout: "1" }, "no sysctl udp_timeout here; podwire sysctl NODE lists those that there are"],
    [
      { [`${P}toString`]: "1" },
      `no sysctl ${P}toString here; podwire sysctl NODE lists those that there are`,
    ],
  ])("%j is refused, and with it what came along", (wrong, words) => {
    const { conntrack } = new h.Harness({ conntrackMax: 64 }).datapath;
    expect(() => writeSysctls(conntrack, { [`${P}icmp_timeout`]: "7", ...wrong })).toThrow(words);
    expect(readSysctl(conntrack, `${P}icmp_timeout`)).toBe(30);
  });
});
