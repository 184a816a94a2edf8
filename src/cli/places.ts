/** Places that packets can be sent from or to by name: pods, nodes, Services and the host. */
import { enterHost } from "../cluster/index.js";
import { canonicalClusterIp, type Node, type Pod, type Service } from "../kube/index.js";
import { parseIpv4 } from "../wire/index.js";
import { execSpec } from "./commands/exec.js";
import { CliError, Exit, kubeClient, type Lab } from "./context.js";

export interface Place {
  readonly name: string;
  readonly ip: string;
  /** Arguments that lead there, for places that commands can run in. */
  readonly enter?: readonly string[];
}

/** All pods that run. */
export async function podPlaces(lab: Lab): Promise<Place[]> {
  const pods = await kubeClient(lab).list<Pod>("pods");
  const running = pods.items.filter((pod) => pod.status?.podIP && pod.status.phase === "Running");
  return Promise.all(running.map((pod) => podPlace(lab, pod)));
}

async function podPlace(lab: Lab, pod: Pod): Promise<Place> {
  const { name = "", namespace = "default" } = pod.metadata ?? {};
  const { enter } = await execSpec(lab, namespace, name);
  return {
    name: namespace === "default" ? name : `${namespace}/${name}`,
    ip: pod.status?.podIP ?? "",
    enter,
  };
}

/**
 * `host`, an address, a Service (`svc/NAME`), a node, or a pod (`NAME` or `NAMESPACE/NAME`).
 * @throws CliError when it has no address or there is none of that name
 */
export async function findPlace(lab: Lab, word: string): Promise<Place> {
  const { plan, netns } = lab.record;
  if (word === "host") return { name: "host", ip: plan.network.host, enter: enterHost(netns) };
  if (parseIpv4(word) !== undefined) return { name: word, ip: word };
  if (word.startsWith("svc/")) return servicePlace(lab, word);
  const client = kubeClient(lab);
  const [nodes, pods] = await Promise.all([client.list<Node>("nodes"), client.list<Pod>("pods")]);
  const node = nodes.items.find(({ metadata }) => metadata?.name === word);
  if (node) {
    const address = node.status?.addresses?.find(({ type }) => type === "InternalIP")?.address;
    return { name: word, ip: demandIp(word, address) };
  }
  const parts = word.replace(/^pods?\//, "").split("/");
  const [namespace, name] = parts.length > 1 ? parts : ["default", ...parts];
  const pod = pods.items.find(({ metadata }) => metadata?.namespace === namespace && metadata?.name === name);
  if (!pod)
    throw new CliError(`${word}: no pod, node or address of that name; pods: podwire get pods`, Exit.usage);
  demandIp(word, pod.status?.podIP);
  return podPlace(lab, pod);
}

async function servicePlace(lab: Lab, word: string): Promise<Place> {
  const { spec } = await kubeClient(lab).get<Service>("services", "default", word.slice("svc/".length));
  return { name: word, ip: demandIp(word, canonicalClusterIp(spec?.clusterIP ?? "")) };
}

function demandIp(word: string, ip: string | undefined): string {
  if (!ip) throw new CliError(`${word} has no address`);
  return ip;
}
