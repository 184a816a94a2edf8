/**
 * The kernel's own conntrack as an oracle: a network namespace that forwards between two TUN devices and drops what
 * nf_conntrack calls invalid, as kube-proxy's FORWARD rule does. Needs root and nft.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { Field, FRAME_STRIDE, HEADROOM_BYTES, openTap, PacketIo, type TapDevice } from "tun-tap-ts";
import { buildUdp, parseIpv4 } from "../../src/wire/index.js";

const ip = (text: string): number => parseIpv4(text) ?? 0;
/** Behind the first and the second device. */
export const CLIENT = ip("10.1.0.2");
export const SERVER = ip("10.2.0.2");
const MARKER_PORT = 7;
const UDP = 17;
/** Turns of the event loop to wait for a packet. */
const MAX_TURNS = 50_000;

const RULES = `
table ip oracle {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state invalid drop
  }
}`;

/** One entry of /proc/net/nf_conntrack. */
export interface KernelEntry {
  readonly protocol: string;
  readonly timeoutSeconds: number;
  readonly state: string;
  /** Of the original direction. */
  readonly ports: readonly number[];
  readonly assured: boolean;
  readonly unreplied: boolean;
}

/** Whether the tools that this needs are there; a reason if not. */
export function whyNoKernel(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  try {
    execFileSync("nft", ["--version"], { stdio: "ignore" });
  } catch {
    return "needs nft (Debian package nftables)";
  }
  return undefined;
}

export class KernelConntrack {
  readonly #netns: string;
  readonly #io: PacketIo;
  readonly #taps: TapDevice[] = [];
  readonly #ports: number[] = [];
  readonly #shell: ChildProcessWithoutNullStreams;
  #output = "";
  #received: Uint8Array[] = [];
  #marker = 0;

  constructor(netns: string, sysctls: Readonly<Record<string, number>> = {}) {
    this.#netns = netns;
    execFileSync("ip", ["netns", "add", netns]);
    this.#io = new PacketIo({
      onBatch: (frames) => this.#onBatch(frames),
      onPortError: (_, error) => {
        throw error;
      },
    });
    for (const [index, name] of ["client", "server"].entries()) {
      const tap = openTap({ name, mode: "tun", netns: `/run/netns/${netns}` });
      this.#taps.push(tap);
      this.#ports.push(this.#io.addTap(tap));
      this.#ip("addr", "add", `10.${index + 1}.0.1/24`, "dev", name);
      this.#ip("link", "set", name, "up");
    }
    const settings = { "net.ipv4.ip_forward": 1, ...sysctls };
    for (const [name, value] of Object.entries(settings)) {
      execFileSync("ip", ["netns", "exec", netns, "sysctl", "-qw", `${name}=${value}`]);
    }
    this.#shell = spawn("ip", ["netns", "exec", netns, "sh"]);
    this.#shell.stdout.on("data", (chunk) => {
      this.#output += String(chunk);
    });
    execFileSync("ip", ["netns", "exec", netns, "nft", "-f", "-"], { input: RULES });
  }

  /** Puts an IP packet in from the client's or the server's side; whether it came out on the other. */
  async passes(packet: Uint8Array, fromServer: boolean): Promise<boolean> {
    const marker = new Uint8Array(64);
    const number = ++this.#marker;
    const payload = Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number);
    const ends = fromServer ? { src: SERVER, dst: CLIENT } : { src: CLIENT, dst: SERVER };
    const length = buildUdp(marker, 0, { ...ends, sport: MARKER_PORT, dport: MARKER_PORT, payload });
    this.#received = [];
    this.#send(fromServer, packet, marker.subarray(0, length));
    const isMarker = (seen: Uint8Array) =>
      seen[9] === UDP && seen.slice(-4).every((byte, i) => byte === payload[i]);
    for (let turn = 0; !this.#received.some(isMarker); turn++) {
      if (turn === MAX_TURNS) throw new Error("the kernel does not forward");
      await new Promise((resolve) => setImmediate(resolve));
    }
    return this.#received.some(
      (seen) => seen[9] === packet[9] && seen.length === packet.length && !isMarker(seen),
    );
  }

  /** The entries of a protocol, by name. */
  async entries(protocol: string): Promise<KernelEntry[]> {
    this.#output = "";
    this.#shell.stdin.write(`grep " ${protocol} " /proc/net/nf_conntrack; echo .\n`);
    while (!/^\.$/m.test(this.#output)) await once(this.#shell.stdout, "data");
    return this.#output
      .split("\n")
      .filter((line) => line.startsWith("ipv4"))
      .map(parseEntry);
  }

  async close(): Promise<void> {
    this.#io.close();
    for (const tap of this.#taps) tap.close();
    this.#shell.stdin.end();
    await once(this.#shell, "close");
    execFileSync("ip", ["netns", "del", this.#netns]);
  }

  #ip(...args: string[]): void {
    execFileSync("ip", ["-n", this.#netns, ...args]);
  }

  #send(fromServer: boolean, ...packets: Uint8Array[]): void {
    const { arena, tx, scratchStart } = this.#io;
    let offset = scratchStart + HEADROOM_BYTES;
    // In front of each packet there is a virtio_net_hdr that asks for nothing.
    arena.fill(0, scratchStart, scratchStart + 2 * 4096);
    packets.forEach((packet, index) => {
      arena.set(packet, offset);
      const at = index * FRAME_STRIDE;
      tx[at + Field.port] = this.#ports[fromServer ? 1 : 0];
      tx[at + Field.offset] = offset;
      tx[at + Field.length] = packet.length;
      offset += packet.length + HEADROOM_BYTES;
    });
    this.#io.flush(packets.length);
  }

  #onBatch(frames: number): number {
    const { arena, rx } = this.#io;
    for (let at = 0; at < frames * FRAME_STRIDE; at += FRAME_STRIDE) {
      const offset = rx[at + Field.offset];
      this.#received.push(arena.slice(offset, offset + rx[at + Field.length]));
    }
    return 0;
  }
}

/** `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… [UNREPLIED] src=… [ASSURED] mark=0 zone=0 use=2`. */
function parseEntry(line: string): KernelEntry {
  const words = line.split(/\s+/);
  const hasState = !words[5].includes("=");
  return {
    protocol: words[2],
    timeoutSeconds: Number(words[4]),
    state: hasState ? words[5] : "",
    ports: [/sport=(\d+)/, /dport=(\d+)/].map((port) => Number(port.exec(line)?.[1])),
    assured: line.includes("[ASSURED]"),
    unreplied: line.includes("[UNREPLIED]"),
  };
}
