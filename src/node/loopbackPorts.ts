/**
 * Loopback addresses have node ports and host ports too (kube-proxy's localhost node ports, portmap's localhost rule).
 * What the node sends to those ports of 127.0.0.0/8 therefore goes out by the device, to the Service rules, instead of
 * straight back.
 */
import { ipBatch, run } from "./run.js";

/** A port of loopback that leads elsewhere. `protocol` as `ip rule` has it: `tcp`, `udp`, `sctp`. */
export interface LoopbackPort {
  readonly protocol: string;
  readonly port: number | string;
}

const TABLE = 127;
/** Preferences of the rules for node ports and for single ports. */
const RANGE_PREF = 20;
const PREF = 21;
const PROTOCOLS = ["tcp", "udp", "sctp"];

/** For a new namespace: the table that leads loopback's packets out, and its rules for node ports (`first-last`). */
export function loopbackCommands(nodePorts: string): readonly string[] {
  return [
    `route replace default dev eth0 src 127.0.0.1 table ${TABLE}`,
    // Also from such a port, or a server's answers would take another way than what it is asked.
    ...PROTOCOLS.flatMap((protocol) =>
      (["dport", "sport"] as const).map(
        (end) => `rule add ${ruleFor(RANGE_PREF, end, { protocol, port: nodePorts })}`,
      ),
    ),
  ];
}

function ruleFor(pref: number, end: "dport" | "sport", { protocol, port }: LoopbackPort): string {
  return `pref ${pref} to 127.0.0.0/8 ipproto ${protocol} ${end} ${port} lookup ${TABLE}`;
}

interface ShownRule {
  readonly priority: number;
  readonly ipproto?: string;
  readonly dport?: number;
}

/** Keeps a namespace's rules for single ports as they should be, one change at a time. */
export class LoopbackPorts {
  #running = false;
  #again = false;

  constructor(
    private readonly netns: string,
    private readonly wanted: () => readonly LoopbackPort[],
    private readonly onError: (error: Error) => void,
  ) {}

  /** Brings the rules to what is wanted now; returns at once. */
  sync(): void {
    this.#again = true;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#again) {
      this.#again = false;
      await this.#bring().catch(this.onError);
    }
    this.#running = false;
  }

  async #bring(): Promise<void> {
    const shown = JSON.parse(
      (await run("ip", ["-n", this.netns, "-j", "rule", "show"])) || "[]",
    ) as ShownRule[];
    const there = new Set(
      shown
        .filter(({ priority }) => priority === PREF)
        .map(({ ipproto = "", dport = 0 }) => ruleFor(PREF, "dport", { protocol: ipproto, port: dport })),
    );
    const wanted = new Set(this.wanted().map((port) => ruleFor(PREF, "dport", port)));
    const commands = [
      ...[...wanted].filter((rule) => !there.has(rule)).map((rule) => `rule add ${rule}`),
      ...[...there].filter((rule) => !wanted.has(rule)).map((rule) => `rule del ${rule}`),
    ];
    if (commands.length > 0) await ipBatch(commands, this.netns);
  }
}
