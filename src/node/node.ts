/**
 * One node: flannel's part from the store, kube-proxy's and the kubelet's from the API, and the datapath that they
 * steer. Comes up in that order; store and API may be away at any time, then it goes on with what it knows.
 */

import type { Server } from "node:http";
import { join } from "node:path";
import { TunTapError, type UdpSocket } from "tun-tap-ts";
import { AddressBook, type ConntrackCleaner, type Datapath, type NodeAddresses } from "../datapath/index.js";
import { Informer, type KubeClient, type Pod } from "../kube/index.js";
import { NetworkFullError, Overlay, type OverlayNetwork } from "../overlay/index.js";
import { NetworkPolicies } from "../policy/index.js";
import type { ConnectionCounter } from "../proxy/index.js";
import { connectStore, type Store } from "../store/index.js";
import { formatIpv4, formatIpv6, formatIpv6Prefix, formatPrefix } from "../wire/index.js";
import { apiClient } from "./apiClient.js";
import type { NodeConfig } from "./config.js";
import { ConntrackFile } from "./conntrackFile.js";
import { keepConntrack } from "./conntrackKeeper.js";
import { Dataplane, monotonicNow, openUnderlay } from "./dataplane.js";
import { LeaseLostError, NodeSetupError } from "./errors.js";
import { claimHostLink, configureHostLink, type HostLinkOptions } from "./hostLink.js";
import { LoopbackPorts } from "./loopbackPorts.js";
import { nodeAddresses } from "./nodeAddresses.js";
import { claimNodeNetns, configureNodeNetns, nodeNetnsName } from "./nodeNetns.js";
import { connectFrom } from "./nodeSockets.js";
import { OwnedJournal } from "./owned.js";
import { followPeers } from "./peers.js";
import { PodIpam } from "./pods/ipam.js";
import { Kubelet } from "./pods/kubelet.js";
import { SandboxStore } from "./pods/sandbox.js";
import { PolicyWatch } from "./policyWatch.js";
import { NodeProxy } from "./proxy/index.js";
import { NodeRegistration } from "./register.js";
import { type NodeParts, startNodeServer } from "./server.js";
import { TraceHub } from "./traceHub.js";

/** How long packets, and pods of an earlier process, wait for the newest that API and store have to tell. */
const NEWS_WAIT_MS = 2000;

export type NodeLog = (level: "info" | "warn" | "error", message: string) => void;

export interface RunningNode {
  /** Ends the process's part; pods and devices stay for the next start. */
  stop(): Promise<void>;
}

/** Starts a node. `onFatal` is called when it cannot go on. */
export async function runNode(
  config: NodeConfig,
  log: NodeLog,
  onFatal: (error: Error) => void,
): Promise<RunningNode> {
  const node = new NodeProcess(config, log, onFatal);
  try {
    await node.start();
  } catch (error) {
    // A setup error's words are for the user; what the devices said is a setup error too.
    if (error instanceof TunTapError || error instanceof NetworkFullError)
      throw new NodeSetupError(error.message);
    throw error;
  }
  return node;
}

class NodeProcess implements RunningNode {
  readonly #config: NodeConfig;
  readonly #log: NodeLog;
  readonly #trace = new TraceHub();
  readonly #addressBook = new AddressBook(Math.random);
  readonly #store: Store;
  readonly #client: KubeClient;
  readonly #overlay: Overlay;
  readonly #journal: OwnedJournal;
  readonly #parts: NodeParts;
  readonly #policies: NetworkPolicies;
  readonly #stops: (() => void)[] = [];
  #server: Server | undefined;
  #dataplane: Dataplane | undefined;
  #proxy: NodeProxy | undefined;
  #phase = "starting";

  constructor(config: NodeConfig, log: NodeLog, onFatal: (error: Error) => void) {
    this.#config = config;
    this.#log = log;
    this.#journal = new OwnedJournal(join(config.dir, "owned.jsonl"));
    this.#parts = { trace: this.#trace, status: () => this.#status() };
    this.#store = connectStore({ endpoints: [...config.store] });
    this.#client = apiClient(config);
    this.#policies = new NetworkPolicies({
      nodeName: config.name,
      ...(config.ipv6 ? { addressOf6: (handle: number) => this.#addressBook.address(handle) } : {}),
      onInvalid: (what) => log("warn", what),
    });
    this.#overlay = new Overlay({
      store: this.#store,
      prefix: config.flannelPrefix,
      publicIp: config.underlay.address,
      underlayMtuBytes: config.underlay.mtuBytes,
      subnetFile: join(config.dir, "subnet.env"),
      ipMasq: config.options.ipMasq,
      leaseTtlSeconds: config.lease.ttlSeconds,
      renewMarginSeconds: config.lease.renewMarginSeconds,
      clock: {
        now: Date.now,
        schedule: (delayMs, task) =>
          (
            (timer) => () =>
              clearTimeout(timer)
          )(setTimeout(task, delayMs)),
      },
      random: Math.random,
      log,
      onLost: (reason) => onFatal(new LeaseLostError(reason)),
    });
  }

  async start(): Promise<void> {
    const config = this.#config;
    this.#server = await startNodeServer(join(config.dir, "node.sock"), this.#parts);
    this.#phase = "waiting for a subnet";
    const network = await this.#overlay.acquire();
    const overlaySocket = openUnderlay(config, network.port);
    const nodenetSocket = openUnderlay(config, config.nodenetPort);
    const addresses = nodeAddresses(config, network);
    const dataplane = this.#startDataplane(addresses, network, overlaySocket, nodenetSocket);
    await this.#attachHost(dataplane, addresses);
    await this.#attachNode(dataplane, addresses);
    const peersKnown = this.#overlay.start({
      put: (prefix, peer) =>
        dataplane.datapath.routes.put({ prefix, port: dataplane.overlayPort, nextHop: peer }),
      delete: (prefix) => void dataplane.datapath.routes.delete(prefix),
      put6: (prefix, peer) =>
        dataplane.datapath.routes6?.put({ prefix, port: dataplane.overlayPort, nextHop: peer }),
      delete6: (prefix) => void dataplane.datapath.routes6?.delete(prefix),
    });
    await this.#startKubernetes(dataplane, addresses, peersKnown);
    this.#phase = "running";
    this.#log("info", `node ${config.name} (${config.nodeIp}) runs`);
  }

  async stop(): Promise<void> {
    this.#phase = "stopping";
    for (const stop of this.#stops.reverse()) stop();
    this.#server?.closeAllConnections();
    this.#server?.close();
    await this.#overlay.stop();
    this.#dataplane?.close();
    await this.#store.close();
    this.#journal.close();
  }

  #startDataplane(
    addresses: NodeAddresses,
    network: OverlayNetwork,
    overlaySocket: UdpSocket,
    nodenetSocket: UdpSocket,
  ): Dataplane {
    const conntrack: ConntrackCleaner & ConnectionCounter = {
      deleteByOriginalDst: (...tuple) =>
        this.#dataplane?.datapath.conntrack.deleteByOriginalDst(...tuple) ?? 0,
      deleteByNat: (...tuple) => this.#dataplane?.datapath.conntrack.deleteByNat(...tuple) ?? 0,
      openConnections: (...about) => this.#dataplane?.datapath.conntrack.openConnections(...about) ?? 0,
    };
    this.#proxy = new NodeProxy({
      config: this.#config,
      addresses,
      client: this.#client,
      conntrack,
      addressBook: this.#addressBook,
      log: this.#log,
    });
    const loopback = new LoopbackPorts(
      nodeNetnsName(this.#config.lab, this.#config.name),
      () => this.#dataplane?.hostPorts.onLoopback() ?? [],
      (error) => this.#log("warn", `host ports of loopback: ${error.message}`),
    );
    this.#dataplane = new Dataplane({
      config: this.#config,
      addresses,
      bridgeIp: formatIpv4(addresses.bridgeIp),
      overlayPort: network.port,
      overlaySocket,
      nodenetSocket,
      services: this.#proxy.proxier,
      policies: this.#policies,
      trace: this.#trace,
      ...(addresses.ipv6 && { addressBook: this.#addressBook }),
      onHostPorts: () => loopback.sync(),
      log: this.#log,
    });
    this.#parts.datapath = this.#dataplane.datapath;
    const { datapath } = this.#dataplane;
    const { nodeIp, podSubnet } = addresses;
    const owner = `${formatIpv4(nodeIp)} ${formatIpv4(podSubnet.address)}/${podSubnet.length}`;
    datapath.conntrack.setTime(monotonicNow());
    this.#stops.push(
      keepConntrack(datapath, new ConntrackFile(join(this.#config.dir, "conntrack.bin"), owner), this.#log),
    );
    return this.#dataplane;
  }

  async #attachHost(dataplane: Dataplane, addresses: NodeAddresses): Promise<void> {
    const { hostTap, hostTapAlias, nodeIp, hostIp } = this.#config;
    const link: HostLinkOptions = {
      name: hostTap,
      alias: hostTapAlias,
      nodeIp,
      hostIp,
      podSubnet: addresses.podSubnet,
      ...(this.#config.ipv6 && addresses.ipv6
        ? { ipv6: { ...this.#config.ipv6, podSubnet: addresses.ipv6.podSubnet } }
        : {}),
    };
    try {
      await claimHostLink(link, this.#journal);
    } catch (error) {
      throw new NodeSetupError((error as Error).message);
    }
    dataplane.attachHost();
    await configureHostLink(link);
  }

  async #attachNode(dataplane: Dataplane, addresses: NodeAddresses): Promise<void> {
    const { lab, name, hostTapAlias } = this.#config;
    const netns = nodeNetnsName(lab, name);
    const fresh = await claimNodeNetns(netns, hostTapAlias, addresses.ipv6 !== undefined, this.#journal);
    dataplane.attachNode(nodeNetnsPath(this.#config));
    const { podMtuBytes } = dataplane;
    const options = { netns, alias: hostTapAlias, addresses, podMtuBytes, nodePorts: this.#config.nodePorts };
    await configureNodeNetns(options, fresh);
  }

  async #startKubernetes(
    dataplane: Dataplane,
    addresses: NodeAddresses,
    peersKnown: Promise<void>,
  ): Promise<void> {
    const config = this.#config;
    const { podSubnet: subnet, ipv6 } = addresses;
    const nodeNetns = nodeNetnsName(config.lab, config.name);
    const sandboxes = new SandboxStore(join(config.dir, "pods"), this.#journal, dataplane, nodeNetns);
    const pods = new Informer<Pod>(this.#client, "pods", { fieldSelector: `spec.nodeName=${config.name}` });
    const proxy = this.#proxy as NodeProxy;
    const { services } = proxy.watch;
    const kubelet = new Kubelet({
      lab: config.lab,
      nodeName: config.name,
      hostIp: config.nodeIp,
      hostIp6: config.ipv6?.nodeIp,
      client: this.#client,
      pods,
      services,
      images: config.images,
      dns: config.dns,
      ...(config.serviceAccounts && { serviceAccounts: config.serviceAccounts }),
      sandboxes,
      ipam: new PodIpam(subnet, ipv6?.podSubnet),
      network: {
        gateway: formatIpv4(addresses.bridgeIp),
        prefixLength: subnet.length,
        mtuBytes: dataplane.podMtuBytes,
        ...(ipv6 && {
          ipv6: { gateway: formatIpv6(ipv6.bridgeIp), prefixLength: ipv6.podSubnet.length },
        }),
      },
      connect: connectFrom(nodeNetns),
      log: this.#log,
    });
    this.#parts.kubelet = kubelet;
    const policyWatch = new PolicyWatch({
      client: this.#client,
      policies: this.#policies,
      nodeName: config.name,
      ownPods: pods,
      file: join(config.dir, "policies.json"),
      log: this.#log,
    });
    let hasAdopted = false;
    const changed = (act: (pod: Pod) => void) => (pod: Pod) => {
      act(pod);
      if (hasAdopted) kubelet.reconcile(pod.metadata?.uid ?? "");
    };
    const upsert = changed((pod) => policyWatch.onOwnPodUpsert(pod));
    policyWatch.start();
    pods.start({
      onAdd: upsert,
      onUpdate: upsert,
      onDelete: changed((pod) => policyWatch.onOwnPodDelete(pod)),
    });
    proxy.start(nodeNetnsPath(config));
    const nodes = followPeers(this.#client, config.name, dataplane);
    // A node that starts again may lose packets, but refuses none for what it has yet to learn. Pods that run on go by the
    // newest policies from the start; while the API is away by those of before.
    const news = [pods, policyWatch, proxy.watch, nodes].map(({ synced }) => synced);
    await atMost(NEWS_WAIT_MS, Promise.all([...news, peersKnown]));
    await kubelet.adoptSandboxes();
    hasAdopted = true;
    dataplane.resume();
    const registration = new NodeRegistration(config, this.#client, [
      formatPrefix(subnet),
      ...(ipv6 ? [formatIpv6Prefix(ipv6.podSubnet)] : []),
    ]);
    registration.start();
    this.#stops.push(
      () => proxy.stop(),
      () => registration.stop(),
      () => nodes.stop(),
      () => policyWatch.stop(),
      () => pods.stop(),
      () => kubelet.stop(),
    );
    void Promise.all([pods.synced, services.synced]).then(() => kubelet.start());
  }

  #status(): object {
    const { name, nodeIp, dir } = this.#config;
    const memory = process.memoryUsage();
    return {
      node: name,
      nodeIp,
      pid: process.pid,
      phase: this.#phase,
      overlay: this.#overlay.status(),
      ...(this.#dataplane
        ? {
            ports: this.#dataplane.portStats(),
            eventLoop: this.#dataplane.eventLoopLag(),
            datapath: datapathStatus(this.#dataplane.datapath),
          }
        : {}),
      ...(this.#proxy
        ? { services: this.#proxy.proxier.describe(), proxy: this.#proxy.proxier.metrics() }
        : {}),
      policies: this.#policies.status(),
      pods: this.#parts.kubelet?.podCount ?? 0,
      memory: { rssBytes: memory.rss, heapUsedBytes: memory.heapUsed },
      uptimeSeconds: Math.round(process.uptime()),
      now: monotonicNow(),
      dir,
    };
  }
}

/** Waits until it is done, or the time is over. */
async function atMost(ms: number, done: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([done, new Promise((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}

/** Where the node's own namespace is. */
function nodeNetnsPath({ lab, name }: NodeConfig): string {
  return `/run/netns/${nodeNetnsName(lab, name)}`;
}

function datapathStatus(datapath: Datapath): object {
  const counters = datapath.counters.export();
  const drops = Object.entries(counters).filter(
    ([name]) => name.startsWith("drop") || name.startsWith("reject"),
  );
  return { conntrack: datapath.conntrack.count, counters, drops: Object.fromEntries(drops) };
}
