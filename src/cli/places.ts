/** Places that packets can be sent from or to by name: pods, nodes, Services and the host. */
import { enterHost } from "../cluster/index.js";
import type { Pod, Service } from "../kube/index.js";
import { execSpec } from "./commands/exec.js";
import { CliError, Exit, kubeClient, type Lab } from "./context.js";

export interface Place {
  readonly name: string;
  readonly ip: string;
  /** Arguments that lead there, for places that commands can run in. */
  readonly enter?: readonly string[];
}

/** All pods that have an address. */
export async function podPlaces(lab: Lab): Promise<Place[]> {
  const pods = await kubeClient(lab).list<Pod>("pods");
  const running = pods.items.filter((pod) => pod.status?.podIP && pod.status.phase === "Running");
  return Promise.all(running.map((pod) => podPlace(lab, pod)));
}

async function podPlace(lab: Lab, pod: Pod): Promise<Place> {
  const { name = "", namespace = "default" } = pod.metadata ?? {};
  const spec = await execSpec(lab, namespace, name);
  return {
    name: namespace === "default" ? name : `${namespace}/${name}`,
    ip: pod.status?.podIP ?? "",
    enter: spec.enter,
  };
}

/** `host`, a pod (`name` or `namespace/name`), a node, `svc/name`, or an address. */
export async function findPlace(lab: Lab, word: string): Promise<Place> {
  const { plan, netns } = lab.record;
  if (word === "host") return { name: "host", ip: plan.network.host, enter: enterHost(netns) };
  const node = plan.nodes.find((candidate) => candidate.name === word);
  if (node) return { name: node.name, ip: node.ip };
  if (/^\d+(\.\d+){3}$/.test(word)) return { name: word, ip: word };
  if (word.startsWith("svc/")) {
    const service = await kubeClient(lab).get<Service>("services", "default", word.slice(4));
    return { name: word, ip: service.spec?.clusterIP ?? "" };
  }
  const [first = "", second] = word.replace(/^pods?\//, "").split("/");
  const pods = await kubeClient(lab).list<Pod>("pods", {
    namespace: second === undefined ? "default" : first,
  });
  const pod = pods.items.find((candidate) => candidate.metadata?.name === (second ?? first));
  if (!pod?.status?.podIP) {
    throw new CliError(`${word}: no pod, node or address of that name; pods: podwire get pods`, Exit.usage);
  }
  return podPlace(lab, pod);
}
