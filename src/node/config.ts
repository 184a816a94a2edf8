/** What a node process is told at its start: one JSON file, made by the cluster process or from `podwire node` flags. */
import type { ConntrackPlan, ProxyPlan } from "../topology/index.js";
import type { ImageTable } from "./images/index.js";
import type { ServiceAccountFiles } from "./pods/serviceAccount.js";

export interface NodeConfig {
  readonly lab: string;
  readonly name: string;
  /** Directory of this node's state, sockets and journal; exists, mode 0700. */
  readonly dir: string;
  readonly nodeIp: string;
  /** The machine's address at the other end of the host TAP. */
  readonly hostIp: string;
  readonly hostTap: string;
  readonly hostTapAlias: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly underlay: { readonly address: string; readonly mtuBytes: number };
  /** Port of the emulated node network's datagrams; flannel's own port comes from its config. */
  readonly nodenetPort: number;
  readonly serviceNetwork: string;
  /** Kubernetes' --service-node-port-range, such as 30000-32767. */
  readonly nodePorts: string;
  /** The second family of a dual-stack lab. */
  readonly ipv6?: { readonly nodeIp: string; readonly hostIp: string; readonly serviceNetwork: string };
  readonly flannelPrefix: string;
  /** Without a margin it is renewed when the overlay sees fit for its TTL. */
  readonly lease: { readonly ttlSeconds: number; readonly renewMarginSeconds?: number };
  /** Endpoints of the store: `unix:/path` or `http://host:port`. */
  readonly store: readonly string[];
  readonly api: { readonly socketPath?: string; readonly baseUrl?: string; readonly tokenFile?: string };
  /** What service accounts' tokens are signed with, and what pods check the API server by; pods get neither without. */
  readonly serviceAccounts?: ServiceAccountFiles;
  readonly images: ImageTable;
  /** Cluster DNS of this lab; pods get the machine's own name servers without it. */
  readonly dns?: { readonly servers: readonly string[]; readonly zone: string };
  readonly options: { readonly ipMasq: boolean; readonly bridgeNetfilter: boolean };
  readonly proxy?: ProxyPlan;
  readonly conntrack?: ConntrackPlan;
}

/** Exit codes of a node process that its supervisor understands. */
export const NodeExit = {
  ok: 0,
  crash: 1,
  /** The configuration cannot work (no /dev/net/tun, address taken): starting again would not help. */
  config: 2,
  /** The subnet lease was lost to another node: start again to get a new one. */
  leaseLost: 3,
} as const;
