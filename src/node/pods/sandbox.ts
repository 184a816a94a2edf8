/**
 * A pod's sandbox: a named network namespace with one TAP, `eth0`, whose other end is this node's datapath. The
 * record of it is on disk, so that a restarted node process finds the same namespace, address and TAP.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { netnsExists, type OwnedJournal, removeOwned, unnameNetns } from "../owned.js";
import { ipBatch, run } from "../run.js";
import type { HostPort } from "./hostPorts.js";
import { killHostProcesses, nameNodeNetns } from "./hostSandbox.js";

export interface SandboxRecord {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly netns: string;
  readonly ip: string;
  /** The second address, of a pod on a node with IPv6. */
  readonly ip6?: string;
  /** Empty for a pod in its node's network. */
  readonly mac: string;
  /** Whether the pod has its node's network, not one of its own. */
  readonly hostNetwork?: boolean;
  readonly hostPorts?: readonly HostPort[];
}

/** What attaches a TAP in a namespace to the datapath; the node process supplies it. */
export interface PodAttacher {
  /** Opens (or takes up) `eth0` in the namespace and adds the port. */
  attach(sandbox: SandboxRecord): void;
  detach(sandbox: SandboxRecord): void;
}

export interface SandboxNetwork {
  /** `172.16.53.1/24`: the bridge address, which is the pods' gateway, with the subnet's length. */
  readonly gateway: string;
  readonly prefixLength: number;
  readonly mtuBytes: number;
  readonly ipv6?: { readonly gateway: string; readonly prefixLength: number };
}

/**
 * Neighbour and router discovery of a family that the overlay does not carry would only be noise. The file is missing
 * in a kernel without IPv6.
 */
const DISABLE_IPV6 = "f=/proc/sys/net/ipv6/conf/all/disable_ipv6; [ ! -e $f ] || echo 1 >$f";

/**
 * IPv6 with configured addresses: no router is listened to or asked for, and no address is tried out first, which would
 * hold a pod up for a second. For interfaces that are made later; in \`/proc/sys/net\`.
 */
export const IPV6_STATIC =
  "for name in accept_ra autoconf accept_dad router_solicitations; do echo 0 >ipv6/conf/default/$name || exit 1; done";

/** MAC address of a pod as Docker makes it: 02:42 and the four bytes of the address. */
export function podMac(ip: string): string {
  const bytes = ip.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  return ["02", "42", ...bytes].join(":");
}

export class SandboxStore {
  constructor(
    readonly dir: string,
    readonly journal: OwnedJournal,
    readonly attacher: PodAttacher,
    /** The node's own namespace, for pods with `hostNetwork`. */
    readonly nodeNetns: string,
  ) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  }

  podDir(uid: string): string {
    return join(this.dir, uid);
  }

  #recordPath(uid: string): string {
    return join(this.podDir(uid), "sandbox.json");
  }

  /** Exists once the sandbox is whole. */
  #readyPath(uid: string): string {
    return join(this.podDir(uid), "sandbox.ready");
  }

  /** Records of sandboxes that an earlier node process left. */
  list(): SandboxRecord[] {
    return readdirSync(this.dir).flatMap((uid) => {
      try {
        return [JSON.parse(readFileSync(this.#recordPath(uid), "utf8")) as SandboxRecord];
      } catch {
        // No record or a torn one: its process died before it made anything.
        rmSync(this.podDir(uid), { recursive: true, force: true });
        return [];
      }
    });
  }

  /** Makes the namespace and its eth0; on failure nothing of it is left. */
  async create(record: SandboxRecord, network: SandboxNetwork): Promise<void> {
    this.journal.record({ kind: "netns", name: record.netns });
    mkdirSync(this.podDir(record.uid), { recursive: true, mode: 0o700 });
    writeFileSync(this.#recordPath(record.uid), JSON.stringify(record), { mode: 0o600 });
    try {
      if (record.hostNetwork) await nameNodeNetns(this.nodeNetns, record.netns);
      else await this.#makeNetwork(record, network);
      writeFileSync(this.#readyPath(record.uid), "", { mode: 0o600 });
    } catch (error) {
      // What cannot be removed now stays in the journal; why there is no sandbox is what the user must know.
      await this.remove(record).catch(() => {});
      throw error;
    }
  }

  async #makeNetwork(record: SandboxRecord, network: SandboxNetwork): Promise<void> {
    await run("ip", ["netns", "add", record.netns]);
    const sysctls = record.ip6 === undefined ? DISABLE_IPV6 : `cd /proc/sys/net && ${IPV6_STATIC}`;
    await run("ip", ["netns", "exec", record.netns, "sh", "-c", sysctls]);
    this.attacher.attach(record);
    await ipBatch(podLinkCommands(record, network), record.netns);
  }

  /**
   * Takes up a sandbox again; false when its namespace is gone (the machine was restarted, or someone removed it) or
   * was never finished.
   */
  adopt(record: SandboxRecord): boolean {
    if (!netnsExists(record.netns) || !existsSync(this.#readyPath(record.uid))) return false;
    if (!record.hostNetwork) this.attacher.attach(record);
    return true;
  }

  /** Ends all its processes and removes every trace. Throws when something could not be removed. */
  async remove(record: SandboxRecord): Promise<void> {
    this.attacher.detach(record);
    if (record.hostNetwork) await this.#leaveNode(record);
    else {
      const problem = await removeOwned({ kind: "netns", name: record.netns });
      if (problem) throw new Error(problem);
    }
    rmSync(this.podDir(record.uid), { recursive: true, force: true });
  }

  async #leaveNode({ netns }: SandboxRecord): Promise<void> {
    if (netnsExists(netns)) await killHostProcesses(netns);
    await unnameNetns(netns);
  }
}

function podLinkCommands(record: SandboxRecord, network: SandboxNetwork): string[] {
  const { ipv6 } = network;
  return [
    "link set lo up",
    `link set eth0 address ${record.mac} mtu ${network.mtuBytes}`,
    `addr add ${record.ip}/${network.prefixLength} dev eth0`,
    "link set eth0 up",
    `route add default via ${network.gateway}`,
    ...(record.ip6 && ipv6
      ? [`addr add ${record.ip6}/${ipv6.prefixLength} dev eth0 nodad`, `route add ::/0 via ${ipv6.gateway}`]
      : []),
  ];
}
