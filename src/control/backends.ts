/** The pods behind a Service: addresses, ports by name, and in what state they are (kubernetes pkg/controller/util/endpoint). */
import type { Pod, Service } from "../kube/index.js";
import { type Family, podIpOf, serviceFamilies } from "./families.js";
import { isFinished, isReady, isTerminating, selects } from "./pods.js";

export interface BackendPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly appProtocol?: string;
}

/** One pod of a Service. */
export interface Backend {
  readonly ip: string;
  readonly pod: Pod;
  /** Service ports with the pod's own numbers; those that the pod does not have are left out. */
  readonly ports: readonly BackendPort[];
  /** Its name under the Service, when it asks for one. */
  readonly hostname?: string;
  /** Conditions as an EndpointSlice has them. */
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

const HEADLESS_LABEL = "service.kubernetes.io/headless";

/** Whether Endpoints and slices of the Service are ours to keep. */
export function isManaged(service: Service): boolean {
  return Object.keys(service.spec?.selector ?? {}).length > 0 && service.spec?.type !== "ExternalName";
}

/** The Service's labels as its Endpoints and slices carry them. */
export function serviceLabels(service: Service): Record<string, string> {
  const headless = service.spec?.clusterIP === "None";
  return { ...service.metadata?.labels, ...(headless && { [HEADLESS_LABEL]: "" }) };
}

/** Pods that the Service selects and that have an address of the family, in the order of their names. */
export function backendsOf(
  service: Service,
  pods: Iterable<Pod>,
  family: Family = serviceFamilies(service)[0]!,
): Backend[] {
  const backends: Backend[] = [];
  for (const pod of pods) {
    const inPlay =
      pod.metadata?.namespace === service.metadata?.namespace && selects(service.spec?.selector, pod);
    const ip = inPlay && !isFinished(pod) ? podIpOf(pod, family) : undefined;
    if (ip) backends.push(backendOf(service, pod, ip));
  }
  return backends.sort((a, b) => ((a.pod.metadata?.name ?? "") < (b.pod.metadata?.name ?? "") ? -1 : 1));
}

function backendOf(service: Service, pod: Pod, ip: string): Backend {
  const serving = isReady(pod);
  const terminating = isTerminating(pod);
  const { hostname, subdomain } = pod.spec ?? {};
  return {
    ip,
    pod,
    ports: portsOf(service, pod),
    ...(hostname && subdomain === service.metadata?.name && { hostname }),
    ready: (serving && !terminating) || service.spec?.publishNotReadyAddresses === true,
    serving,
    terminating,
  };
}

function portsOf(service: Service, pod: Pod): BackendPort[] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const protocol = port.protocol ?? "TCP";
    const number = findPort(pod, port.targetPort ?? port.port, protocol);
    if (number === undefined) return [];
    const { appProtocol } = port;
    return [
      { name: port.name ?? "", port: number, protocol, ...(appProtocol !== undefined && { appProtocol }) },
    ];
  });
}

/** A target port's number in this pod; names are looked up among its container ports of the same protocol. */
function findPort(pod: Pod, target: string | number, protocol: string): number | undefined {
  if (typeof target === "number") return target;
  const sidecars = pod.spec?.initContainers?.filter(({ restartPolicy }) => restartPolicy === "Always") ?? [];
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    for (const port of container.ports ?? []) {
      if (port.name === target && (port.protocol ?? "TCP") === protocol) return port.containerPort;
    }
  }
  return undefined;
}

/** What an address refers to. */
export function targetRef(pod: Pod): { kind: string; namespace: string; name: string; uid: string } {
  const { namespace = "", name = "", uid = "" } = pod.metadata ?? {};
  return { kind: "Pod", namespace, name, uid };
}

/** Backends with the same ports, by a key that is the same for the same ports. */
export function groupByPorts(backends: readonly Backend[]): Map<string, Backend[]> {
  const groups = new Map<string, Backend[]>();
  for (const backend of backends) {
    const key = portsKey(backend.ports);
    const group = groups.get(key);
    if (group) group.push(backend);
    else groups.set(key, [backend]);
  }
  return groups;
}

/** Of ports as they are in a Service, a slice or Endpoints: their order does not count. */
export function portsKey(ports: readonly Partial<BackendPort>[]): string {
  const texts = ports.map(
    ({ name = "", port, protocol, appProtocol = "" }) => `${name} ${port} ${protocol} ${appProtocol}`,
  );
  return texts.sort().join(",");
}
