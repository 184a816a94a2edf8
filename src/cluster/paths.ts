/** Where a lab keeps its files: one directory under /run/podwire, gone after `down`. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Settable so that tests and unprivileged users can keep theirs elsewhere. */
export const runRoot = (): string => process.env.PODWIRE_RUN_DIR ?? "/run/podwire";

const CLUSTER_MAIN = fileURLToPath(new URL("./main.js", import.meta.url));
const NODE_MAIN = fileURLToPath(new URL("../node/main.js", import.meta.url));

export class LabPaths {
  readonly dir: string;
  /** Arguments for Node.js that are the lab's cluster process. */
  readonly clusterArgs: readonly string[];

  constructor(lab: string, root: string = runRoot()) {
    this.dir = join(root, lab);
    this.clusterArgs = [CLUSTER_MAIN, lab, root];
  }

  /** The lab's record: plan, namespace, when it was made. */
  get record(): string {
    return join(this.dir, "lab.json");
  }
  /** Exists once the topology's manifests are in the store. */
  get applied(): string {
    return join(this.dir, "applied");
  }
  /** Exists when an etcd of its own life held nothing before the lab. */
  get ownsStore(): string {
    return join(this.dir, "owns-store");
  }
  get apiSocket(): string {
    return join(this.dir, "api.sock");
  }
  get storeSocket(): string {
    return join(this.dir, "store.sock");
  }
  get storeDir(): string {
    return join(this.dir, "store");
  }
  get token(): string {
    return join(this.dir, "token");
  }
  /** What pods check the API server by, and what it shows them. */
  get caCertificate(): string {
    return join(this.dir, "ca.crt");
  }
  get apiKey(): string {
    return join(this.dir, "apiserver.key");
  }
  get apiCertificate(): string {
    return join(this.dir, "apiserver.crt");
  }
  /** Signs service accounts' tokens. */
  get accountKey(): string {
    return join(this.dir, "accounts.key");
  }
  get journal(): string {
    return join(this.dir, "owned.jsonl");
  }
  get log(): string {
    return join(this.dir, "podwire.log");
  }
  /** Pid and start time of the cluster process, and of the shell that starts it again. */
  get clusterPid(): string {
    return join(this.dir, "cluster.pid");
  }
  get supervisorPid(): string {
    return join(this.dir, "supervisor.pid");
  }
  /** Words of a cluster process that could not start; `up` shows them. */
  get failure(): string {
    return join(this.dir, "failure");
  }
  get nodesDir(): string {
    return join(this.dir, "nodes");
  }
  node(name: string): NodePaths {
    return new NodePaths(join(this.nodesDir, name));
  }
}

/**
 * Node.js' options for a node process, whose packets make no garbage. Without a bound V8's young generation (half of it,
 * in MB) grows at start-up to 16 and stays there, in some processes and not in others.
 */
export const NODE_OPTIONS: readonly string[] = ["--max-semi-space-size=2"];

export class NodePaths {
  constructor(readonly dir: string) {}

  /** Arguments for Node.js that are this node's process. */
  get args(): readonly string[] {
    return [NODE_MAIN, this.config];
  }

  get config(): string {
    return join(this.dir, "config.json");
  }
  get socket(): string {
    return join(this.dir, "node.sock");
  }
  get pid(): string {
    return join(this.dir, "node.pid");
  }
  get log(): string {
    return join(this.dir, "node.log");
  }
  get journal(): string {
    return join(this.dir, "owned.jsonl");
  }
}
