/** Registers this node with the API and keeps its heartbeat (kubelet's node status). */
import { arch, availableParallelism, release } from "node:os";
import { type KubeClient, type Node, StatusError } from "../kube/index.js";
import type { NodeConfig } from "./config.js";

/** Annotation on the Node: flannel's own, for the underlay address. */
export const PUBLIC_IP_ANNOTATION = "flannel.alpha.coreos.com/public-ip";
/** Annotation of our own: this node reads super-packets that come whole (tun-tap-ts, `PacketIo.sendWhole`). */
export const SUPER_PACKETS_ANNOTATION = "podwire.dev/super-packets";
export const HEARTBEAT_MS = 1000;

/** The CPUs are the machine's: topology hints need them, and nothing is accounted. */
const RESOURCES = { cpu: String(availableParallelism()), pods: "250" };

const now = (): string => `${new Date().toISOString().slice(0, 19)}Z`;

function nodeObject(config: NodeConfig, podCidrs: readonly string[]): Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: config.name,
      labels: {
        "kubernetes.io/hostname": config.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch() === "x64" ? "amd64" : arch(),
        ...config.labels,
      },
      annotations: {
        [PUBLIC_IP_ANNOTATION]: config.underlay.address,
        [SUPER_PACKETS_ANNOTATION]: "whole",
      },
    },
    spec: { podCIDR: podCidrs[0], podCIDRs: [...podCidrs] },
  };
}

function nodeStatus(config: NodeConfig, since: string): NonNullable<Node["status"]> {
  return {
    addresses: [
      { type: "InternalIP", address: config.nodeIp },
      ...(config.ipv6 ? [{ type: "InternalIP", address: config.ipv6.nodeIp }] : []),
      { type: "Hostname", address: config.name },
    ],
    capacity: RESOURCES,
    allocatable: RESOURCES,
    conditions: [
      {
        type: "Ready",
        status: "True",
        reason: "KubeletReady",
        message: "podwire node is posting ready status",
        lastHeartbeatTime: now(),
        lastTransitionTime: since,
      },
    ],
    nodeInfo: {
      architecture: arch() === "x64" ? "amd64" : arch(),
      bootID: "",
      containerRuntimeVersion: "podwire://0.1.0",
      kernelVersion: release(),
      kubeProxyVersion: "v1.30.0+podwire",
      kubeletVersion: "v1.30.0+podwire",
      machineID: "",
      operatingSystem: "linux",
      osImage: "Podwire",
      systemUUID: "",
    },
  };
}

/** Creates or refreshes the Node object, then posts its status every second until stopped. */
export class NodeRegistration {
  readonly #config: NodeConfig;
  readonly #client: KubeClient;
  readonly #podCidrs: readonly string[];
  readonly #since = now();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** @param podCidrs the node's subnets, IPv4's first */
  constructor(config: NodeConfig, client: KubeClient, podCidrs: readonly string[]) {
    this.#config = config;
    this.#client = client;
    this.#podCidrs = podCidrs;
  }

  /** Returns at once; the API may be away, and is asked again until it answers. */
  start(): void {
    void this.#beat(false);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #beat(registered: boolean): Promise<void> {
    let done = registered;
    try {
      if (!done) await this.#register();
      done = true;
      const { name } = this.#config;
      await this.#client.update<Node>(
        "nodes",
        { metadata: { name }, status: nodeStatus(this.#config, this.#since) },
        "status",
      );
    } catch (error) {
      // The object was deleted, or the API server lost it: register again.
      if (error instanceof StatusError && error.status.code === 404) done = false;
    }
    if (!this.#stopped)
      this.#timer = setTimeout(() => void this.#beat(done), done ? HEARTBEAT_MS : HEARTBEAT_MS / 4);
  }

  async #register(): Promise<void> {
    const wanted = nodeObject(this.#config, this.#podCidrs);
    try {
      await this.#client.create("nodes", wanted);
    } catch (error) {
      if (!(error instanceof StatusError) || error.status.code !== 409) throw error;
      const found = await this.#client.get<Node>("nodes", undefined, this.#config.name);
      await this.#client.update<Node>("nodes", {
        ...found,
        metadata: {
          ...found.metadata,
          labels: { ...found.metadata?.labels, ...wanted.metadata?.labels },
          annotations: { ...found.metadata?.annotations, ...wanted.metadata?.annotations },
        },
        spec: { ...found.spec, ...wanted.spec },
      });
    }
  }
}
